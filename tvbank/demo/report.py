"""The result on the screen: the plan, the table, the totals, the claims, and what to try next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tvbank.demo.pictures import ImageTask
from tvbank.demo.result import DemoResult, Routed


def print_plan(images: int, tasks: Sequence[ImageTask], console: Console) -> None:
    """Print what is about to be trained."""
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
    if result.routed is not None:
        console.print()
        console.print(_routed(result.routed), highlight=False)
    console.print()
    for claim in result.claims:
        mark = "[bold red]FAILED[/]" if claim.failures else "[green]ok[/]    "
        console.print(f"  {mark} {claim.text}", highlight=False)
        for why in claim.failures:
            console.print(f"         {why}", style="red", markup=False, highlight=False)
    console.print()
    console.print(_next(result.folder), markup=False, highlight=False, soft_wrap=True)


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


def _routed(routed: Routed) -> str:
    return (
        f"One live model and a router in the bank, {routed.router_bytes / 1024:.0f} KiB, answer "
        f"{routed.pictures} pictures of all\ntasks: {_percent(routed.told)} % right if told the "
        f"task; {_percent(routed.batches)} % in batches of one task; {_percent(routed.alone)} % "
        "picture\nby picture in a mix of all, as "
        f"{_percent(routed.found)} % find their task: a picture turned or covered by\nnothing "
        f"belongs to no task. {routed.passes:.2f} passes a picture instead of 1."
    )


def _next(folder: Path) -> str:
    bank = shlex.quote(str(folder / "bank"))
    first, second = "turned", "swapped"
    return (
        f"Left in {folder}:\n"
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
