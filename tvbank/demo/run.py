"""The demo from beginning to end, with nothing but tvbank's public interface."""

from __future__ import annotations

import copy
import json
import shlex
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Generator

import tvbank
from tvbank._atomic import replace_file
from tvbank._progress import SILENT, Bar, Counter, Progress
from tvbank.demo.model import accuracy, differing_units, load_model, outputs, save_model
from tvbank.demo.pictures import TASKS, Pictures, load_images, split, test_pictures
from tvbank.demo.report import print_plan, print_result
from tvbank.demo.result import DROP, DemoResult, Row, Settings, check_claims
from tvbank.demo.routed import route
from tvbank.demo.training import fine_tune, fit_probe, pretrain, reproducible
from tvbank.errors import StorageError, UsageError

#: The task that is stored a second time, exactly.
EXACT_OF = TASKS[-1].name
EXACT = f"{EXACT_OF}-exact"
#: The bank's tasks in the order of the table, and the fine-tune that each was made from.
BANKED = {task.name: task for task in TASKS} | {EXACT: TASKS[-1]}

_MADE_BY = "tvbank demo"


def run_demo(
    folder: Path,
    *,
    seed: int = 0,
    drop: float = DROP,
    console: Console,
    quiet: bool = False,
    settings: Settings | None = None,
) -> DemoResult:
    """Train fine-tunes on real images, bank them, read them back from disk, score them.

    Args:
        folder: where to leave all of it; it must not exist yet or be empty.
        seed: of the training; the split of the images is always the same.
        drop: T-Switch's share of entries to drop, 0 <= drop < 1.
        console: where progress and the table go.
        quiet: print nothing.
        settings: sizes, steps and margins.

    Returns:
        What was measured. If ``failures`` is not empty, something that the demo claims did not
        happen.

    Raises:
        UsageError: the folder is taken, ``drop`` is out of range, scikit-learn is not installed.
        StorageError: the disk refused.
    """
    began = time.perf_counter()
    settings = settings or Settings()
    compressor = tvbank.TSwitch(drop=drop, knob=settings.knob)
    train, test = split(*load_images())
    make_folder(folder)
    if not quiet:
        print_plan(len(train[0]), TASKS, console)
    shown = nullcontext(SILENT) if quiet else Bar("", console, keep=True)
    with reproducible(seed), shown as progress:
        tests = {task.name: test_pictures(task, *test, settings.draws) for task in TASKS}
        base_scores = train_all(folder, train, tests, settings, seed, progress)
        build_bank(folder, compressor, progress)
        faults, rows = read_back(folder, tests, base_scores, settings, progress)
        whole = not faults and all(row.error is None for row in rows)
        routed = route(folder, train, tests, settings, seed) if whole else None
    [exact] = (row for row in rows if row.exact)
    differing = [] if exact.error else differing_units(
        file_of(folder, "checkpoints", EXACT_OF), file_of(folder, "exports", EXACT)
    )  # fmt: skip
    result = DemoResult(
        folder=folder,
        rows=rows,
        claims=check_claims(rows, faults, differing, drop, settings),
        base_bytes=(folder / "base.safetensors").stat().st_size,
        bank_bytes=sum(f.stat().st_size for f in (folder / "bank").rglob("*") if f.is_file()),
        test_images=len(test[0]),
        compressor=compressor.describe(),
        settings=settings,
        seed=seed,
        seconds=time.perf_counter() - began,
        routed=routed,
    )
    _note(folder, result.to_json())
    if not quiet:
        print_result(result, console)
    return result


def make_folder(folder: Path) -> None:
    """Take a folder that does not exist yet or is empty, and mark it as a demo's.

    Raises:
        UsageError: there is something at that place, which stays as it is.
        StorageError: the folder cannot be made.
    """
    try:
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise UsageError(_occupied(folder))
        for name in ("checkpoints", "exports"):
            (folder / name).mkdir(parents=True)
    except OSError as error:
        raise StorageError(f"cannot make the folder {folder}: {error.strerror}") from error
    _note(folder, {"finished": False})


def file_of(folder: Path, kind: str, task: str) -> Path:
    """A fine-tune with its head: in ``checkpoints`` as trained, in ``exports`` as from the bank."""
    return folder / kind / f"{task}.safetensors"


def train_all(
    folder: Path,
    train: Pictures,
    tests: dict[str, Pictures],
    settings: Settings,
    seed: int,
    progress: Progress,
) -> dict[str, float]:
    """Write the base and one checkpoint a task; accuracy of the base with a probe, by task."""

    def random(number: int) -> Generator:
        return Generator().manual_seed(1000 * seed + number)

    scores = {}
    steps = Counter(progress, settings.pretrain_steps, "steps", "pre-training the base")
    base = pretrain(train[0], settings, random(0), steps.advance)
    save_model(folder / "base.safetensors", base)
    for number, task in enumerate(TASKS, start=1):
        steps = Counter(progress, settings.tune_steps, "steps", f"fine-tuning {task.name}")
        chance, start = random(number), copy.deepcopy(base)
        pictures, labels = task.draw(*train, chance)
        start.head = fit_probe(outputs(base, pictures), labels, task.classes)
        scores[task.name] = accuracy(start, *tests[task.name])
        tuned = fine_tune(start, task, train, settings, chance, steps.advance)
        save_model(file_of(folder, "checkpoints", task.name), tuned)
    return scores


def build_bank(folder: Path, compressor: tvbank.TSwitch, progress: Progress) -> None:
    """Make the bank: every fine-tune compressed, and one of them also exactly."""
    bank = tvbank.create(folder / "bank", base=folder / "base.safetensors")
    tasks = Counter(progress, len(BANKED), "tasks", "building the bank")
    for name, task in BANKED.items():
        bank.add(
            name,
            file_of(folder, "checkpoints", task.name),
            compressor=tvbank.Exact() if name == EXACT else compressor,
            metadata={"question": task.question},
        )
        tasks.advance()


def read_back(
    folder: Path,
    tests: dict[str, Pictures],
    base_scores: dict[str, float],
    settings: Settings,
    progress: Progress,
) -> tuple[list[str], tuple[Row, ...]]:
    """Open the bank, check every byte, export every task, and score the files.

    A task that cannot be read has an error in its row; no exception is raised.

    Returns:
        Faults of the bank, in sentences, and a row for each task.
    """
    bank = tvbank.open(folder / "bank")
    faults = bank.verify(progress=partial(progress.report, "verifying every byte"))
    tasks = Counter(progress, len(BANKED), "tasks", "reading back from disk")
    rows = []
    for name, task in BANKED.items():
        stored, out, error = (0, 0.0), file_of(folder, "exports", name), None
        try:
            stored = bank[name].stored_bytes, bank[name].bits_per_parameter
            tvbank.export(bank, name, base=folder / "base.safetensors", out=out)
        except tvbank.TvbankError as refused:
            error = str(refused)
        checkpoint = file_of(folder, "checkpoints", task.name)
        test = tests[task.name]
        rows.append(
            Row(
                task=name,
                question=task.question,
                exact=name == EXACT,
                checkpoint_bytes=checkpoint.stat().st_size,
                stored_bytes=stored[0],
                bits_per_parameter=stored[1],
                base_accuracy=base_scores[task.name],
                tuned_accuracy=accuracy(load_model(checkpoint, settings), *test),
                bank_accuracy=None if error else accuracy(load_model(out, settings), *test),
                error=error,
            )
        )
        tasks.advance()
    return [fault.message for fault in faults], tuple(rows)


def _note(folder: Path, result: dict[str, Any]) -> None:
    """Write ``demo.json``: the result, and the mark by which a demo knows its own folders."""
    text = json.dumps({"made_by": _MADE_BY, **result}, indent=2)
    replace_file(folder / "demo.json", f"{text}\n".encode())


def _made_by_demo(folder: Path) -> bool:
    try:
        note = json.loads((folder / "demo.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(note, dict) and note.get("made_by") == _MADE_BY


def _occupied(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder} is a file: name another folder for the demo"
    if _made_by_demo(folder):
        remove = f"rm -r {shlex.quote(str(folder))}"
        return f"{folder} holds an earlier demo: remove it ({remove}) or name another folder"
    return f"{folder} is not empty and no demo made it: name another folder for the demo"
