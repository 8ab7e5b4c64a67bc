"""The demo from beginning to end."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

import tvbank
from tvbank.demo.banking import BANKED, EXACT, ReadBack, build_bank, checkpoint_of, read_back
from tvbank.demo.claims import check_claims
from tvbank.demo.folder import DemoFolder
from tvbank.demo.images import load_images, split
from tvbank.demo.model import accuracy
from tvbank.demo.progress import Stages
from tvbank.demo.report import DemoResult, Row, print_plan, print_result
from tvbank.demo.reproducible import reproducible
from tvbank.demo.settings import DROP, Settings
from tvbank.demo.tasks import TASKS, Pictures, test_pictures
from tvbank.demo.training import train_all
from tvbank.demo.weights import differing_units, load_classifier


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
    train, test = split(load_images())
    places = DemoFolder.make(folder)
    stages = Stages(console, quiet=quiet)

    if not quiet:
        print_plan(len(train), TASKS, console)

    with reproducible(seed):
        tests = {task.name: test_pictures(task, test, settings.draws) for task in TASKS}
        base_scores = train_all(places, train, tests, settings, seed, stages)
        build_bank(places, compressor, stages)
        back = read_back(places, stages)
        rows = _rows(places, tests, base_scores, back, settings)

    differing: list[str] = []
    if EXACT not in back.errors:
        differing = differing_units(places.checkpoint(checkpoint_of(EXACT)), places.export(EXACT))
    result = DemoResult(
        folder=places,
        rows=rows,
        claims=tuple(check_claims(rows, back.faults, differing, drop, settings)),
        base_bytes=places.base.stat().st_size,
        bank_bytes=sum(f.stat().st_size for f in places.bank.rglob("*") if f.is_file()),
        test_images=len(test),
        compressor=compressor.describe(),
        settings=settings,
        seed=seed,
        seconds=time.perf_counter() - began,
    )
    places.note(result.to_json())
    if not quiet:
        print_result(result, console)
    return result


def _rows(
    places: DemoFolder,
    tests: dict[str, Pictures],
    base_scores: dict[str, float],
    back: ReadBack,
    settings: Settings,
) -> tuple[Row, ...]:
    """Score every checkpoint and every export as files, each loaded into a new model."""
    questions = {task.name: task.question for task in TASKS}

    def score(path: Path, task: str) -> float:
        return accuracy(load_classifier(path, settings), *tests[task])

    tuned = {task.name: score(places.checkpoint(task.name), task.name) for task in TASKS}
    rows = []
    for name in BANKED:
        task, error = checkpoint_of(name), back.errors.get(name)
        rows.append(
            Row(
                task=name,
                question=questions[task],
                exact=name == EXACT,
                checkpoint_bytes=places.checkpoint(task).stat().st_size,
                stored_bytes=back.stored_bytes.get(name, 0),
                bits_per_parameter=back.bits_per_parameter.get(name, 0.0),
                base_accuracy=base_scores[task],
                tuned_accuracy=tuned[task],
                bank_accuracy=None if error else score(places.export(name), task),
                error=error,
            )
        )
    return tuple(rows)
