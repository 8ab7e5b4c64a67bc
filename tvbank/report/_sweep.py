"""One fine-tune, stored in many sizes, each scored after it was read back."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from tvbank._progress import Listener, listener
from tvbank.bank.bank import Bank, create
from tvbank.checkpoint import CheckpointSource
from tvbank.compress import Compressor, Exact
from tvbank.errors import CheckpointError, TvbankError
from tvbank.merging import export
from tvbank.report._points import Point

#: Called with the path of a full checkpoint, a safetensors file; a number, more is better.
Evaluate = Callable[[Path], Any]

_TASK = "task"


@final
@dataclass(frozen=True)
class Sweep:
    """The scores of a sweep.

    Attributes:
        tuned_score: of the fine-tune itself.
        points: one a compressor, in their order.
    """

    tuned_score: float
    points: tuple[Point, ...]


def sweep(
    base: CheckpointSource,
    tuned: CheckpointSource,
    evaluate: Evaluate,
    compressors: Sequence[Compressor],
    progress: Listener = None,
) -> Sweep:
    """Store a fine-tune with each compressor, read it back, and score it.

    Every score is that of weights exported from a bank, that of the fine-tune itself too.

    Args:
        base: the base's weights.
        tuned: the fine-tune's.
        evaluate: called with the path of a safetensors file that is deleted afterwards.
        compressors: what to try.
        progress: a ``Progress``, or a function that is called with compressors done and in all.

    Returns:
        The scores and sizes.

    Raises:
        CheckpointError: ``evaluate`` raised, or did not return a number.
        TvbankError: as ``Bank.add``.
    """
    steps: list[Compressor] = [Exact(), *compressors]
    points, shown = [], listener(progress, "compressors")
    with tempfile.TemporaryDirectory(prefix="tvbank-sweep-") as folder:
        bank = create(Path(folder) / "bank", base=base)
        for done, compressor in enumerate(steps):
            detail = " ".join(map(str, compressor.describe().values()))
            shown.report("", done, len(steps), "compressors", detail)
            points.append(_point(bank, tuned, compressor, evaluate, Path(folder)))
        shown.report("", len(steps), len(steps), "compressors")
    return Sweep(points[0].score, tuple(points[1:]))


def _point(
    bank: Bank, tuned: CheckpointSource, compressor: Compressor, evaluate: Evaluate, folder: Path
) -> Point:
    start = time.monotonic()
    task = bank.add(_TASK, tuned, compressor, replace=True, replace_mismatched=True)
    seconds = time.monotonic() - start
    path = export(bank, _TASK, out=folder / "restored.safetensors")
    try:
        score = _score(evaluate, path)
    finally:
        path.unlink()
    bank.gc(0)
    return Point(
        task.compressor,
        task.stored_bytes,
        task.bits_per_parameter,
        task.stored_bytes / max(bank.layout.unit_bytes, 1),
        score,
        seconds,
    )


def _score(evaluate: Evaluate, path: Path) -> float:
    try:
        value = evaluate(path)
    except TvbankError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CheckpointError(f"the evaluation failed on a restored checkpoint: {what}") from error
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"the evaluation returned a {type(value).__name__}, not a number"
        ) from error
