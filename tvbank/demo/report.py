"""Rows, totals, the table and the JSON."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, final

from rich.console import Console
from rich.table import Table

from tvbank.demo.folder import DemoFolder
from tvbank.demo.settings import Settings

if TYPE_CHECKING:
    from tvbank.demo.claims import Claim
    from tvbank.demo.tasks import ImageTask


@final
@dataclass(frozen=True)
class Row:
    """One task of the bank.

    Attributes:
        task: its name in the bank.
        question: what the model tells.
        exact: whether it was stored with ``Exact``.
        checkpoint_bytes: size of the fine-tune's file.
        stored_bytes: size of the task's objects in the bank; 0 if the catalog could not tell.
        bits_per_parameter: stored bits over parameters, head included.
        base_accuracy: of the base with a linear probe, 0..1.
        tuned_accuracy: of the fine-tune's file.
        bank_accuracy: of the file exported from the bank; None if there is none.
        error: why there is none.
    """

    task: str
    question: str
    exact: bool
    checkpoint_bytes: int
    stored_bytes: int
    bits_per_parameter: float
    base_accuracy: float
    tuned_accuracy: float
    bank_accuracy: float | None
    error: str | None = None


@final
@dataclass(frozen=True)
class DemoResult:
    """What the demo measured.

    Attributes:
        folder: where everything was left.
        rows: one a task of the bank.
        claims: what was claimed, and what contradicts it.
        base_bytes: size of the base's file.
        bank_bytes: size of all files of the bank.
        test_images: real images that no training saw.
        compressor: name and parameters of the lossy compressor.
        settings: sizes, steps and margins.
        seed: of the training.
        seconds: from start to end, imports of the command line apart.
    """

    folder: DemoFolder
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...]
    base_bytes: int
    bank_bytes: int
    test_images: int
    compressor: dict[str, Any]
    settings: Settings
    seed: int
    seconds: float

    @property
    def failures(self) -> list[str]:
        """Claims that do not hold, in sentences; empty if all do."""
        return [f"{claim.text}: {why}" for claim in self.claims for why in claim.failures]

    @property
    def checkpoint_bytes(self) -> int:
        """Size of all fine-tunes' files."""
        return sum(row.checkpoint_bytes for row in self.rows if not row.exact)

    @property
    def exact_bytes(self) -> int:
        """Size of what is in the bank a second time, exactly."""
        return sum(row.stored_bytes for row in self.rows if row.exact)

    def to_json(self) -> dict[str, Any]:
        """Everything, as ``--json`` prints it."""
        return {
            "finished": True,
            "folder": str(self.folder.path),
            "bank": str(self.folder.bank),
            "base": str(self.folder.base),
            "rows": [asdict(row) for row in self.rows],
            "claims": [asdict(claim) for claim in self.claims],
            "failures": self.failures,
            "base_bytes": self.base_bytes,
            "checkpoint_bytes": self.checkpoint_bytes,
            "bank_bytes": self.bank_bytes,
            "exact_bytes": self.exact_bytes,
            "test_images": self.test_images,
            "compressor": self.compressor,
            "settings": asdict(self.settings),
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
        }


def print_plan(images: int, tasks: Sequence[ImageTask], console: Console) -> None:
    """Say what the next minute is spent on."""
    console.print(
        f"A small vision transformer learns to fill in hidden parts of {images:,} handwritten\n"
        f"digits, and is then fine-tuned in full, every weight, for {len(tasks)} tasks:\n",
        highlight=False,
    )
    for task in tasks:
        console.print(f"  {task.name:<8} {task.question}", markup=False, highlight=False)
    console.print()


def print_result(result: DemoResult, console: Console) -> None:
    """Print the table, the totals, the claims, and what to try next."""
    console.print()
    console.print(_table(result))
    console.print(_totals(result), highlight=False)
    console.print()
    for claim in result.claims:
        mark = "[bold red]FAILED[/]" if claim.failures else "[green]ok[/]    "
        console.print(f"  {mark} {claim.text}", highlight=False)
        for why in claim.failures:
            console.print(f"         {why}", style="red", markup=False, highlight=False)
    console.print()
    console.print(_left_behind(result.folder), markup=False, highlight=False, soft_wrap=True)


def _table(result: DemoResult) -> Table:
    compressor = result.compressor
    table = Table(
        title="Fine-tunes of one vision transformer, before and after the bank",
        caption=(
            f"accuracy in % on {result.test_images} held-out handwritten digits, each drawn "
            f"{result.settings.draws} times; from the bank = exported from disk and loaded anew; "
            f"T-Switch drop {compressor['drop']:g}, knob {compressor['knob']}; a loss of up to "
            f"{100 * result.settings.margin:g} points is allowed"
        ),
    )
    table.add_column("task", no_wrap=True)
    for column in (
        "checkpoint\nbytes", "stored\nbytes", "bits per\nparameter", "base +\nprobe", "fine-\ntune",
        "from the\nbank",
    ):  # fmt: skip
        table.add_column(column, justify="right")
    for row in result.rows:
        table.add_row(
            row.task,
            f"{row.checkpoint_bytes:,}",
            f"{row.stored_bytes:,}",
            f"{row.bits_per_parameter:.3f}",
            _percent(row.base_accuracy),
            _percent(row.tuned_accuracy),
            _percent(row.bank_accuracy),
        )
    return table


def _totals(result: DemoResult) -> str:
    fine_tunes = sum(not row.exact for row in result.rows)
    compressed = result.bank_bytes - result.exact_bytes
    return (
        f"{fine_tunes} checkpoints, {_mebi(result.checkpoint_bytes)}, became a base, "
        f"{_mebi(result.base_bytes)}, and a bank, {_mebi(compressed)}\n"
        f"(less the exact copy of one, {_mebi(result.exact_bytes)}). "
        f"All of it took {result.seconds:.0f} seconds."
    )


def _left_behind(folder: DemoFolder) -> str:
    path, bank = folder.path, shlex.quote(str(folder.bank))
    first, second = "turned", "swapped"
    return (
        f"Left in {path}:\n"
        "  base.safetensors, bank/, checkpoints/ as trained, exports/ as they came out of\n"
        "  the bank, and these figures in demo.json. To try next:\n\n"
        f"  tvbank ls {bank}\n"
        f"  tvbank show {bank} {first}\n"
        f"  tvbank merge {bank} {first}=0.5 {second}=0.5 -o merged.safetensors"
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _mebi(size: int) -> str:
    return f"{size / 2**20:.2f} MiB"
