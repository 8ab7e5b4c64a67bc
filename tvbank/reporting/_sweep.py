"""One fine-tune, stored in many sizes, each scored after it was read back."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from tvbank._progress import Listener, listener
from tvbank.bank.bank import Bank, create
from tvbank.checkpoint import CheckpointSource
from tvbank.compress import Compressor, Exact
from tvbank.compress.budget.tolerance import Evaluate
from tvbank.errors import CheckpointError, TvbankError
from tvbank.merging import export
from tvbank.naming import Names
from tvbank.reporting._points import Point, setting_of

_TASK = "task"


@final
@dataclass(frozen=True)
class Failure:
    """A compressor that has no score.

    Attributes:
        compressor: name and parameters.
        error: why, in a sentence that names it.
    """

    compressor: dict[str, Any]
    error: str


#: Called with each score, or failure, as soon as it is known.
Scored = Callable[[Point | Failure], object]


@final
@dataclass(frozen=True)
class Sweep:
    """The scores of a sweep.

    Attributes:
        tuned_score: of the fine-tune itself.
        base_score: of the base itself; None if it has none, as where it lacks a head.
        points: one a compressor that has a score, in their order.
        failures: likewise, those that have none.
    """

    tuned_score: float
    points: tuple[Point, ...]
    failures: tuple[Failure, ...] = ()
    base_score: float | None = None


def sweep(
    base: CheckpointSource,
    tuned: CheckpointSource,
    evaluate: Evaluate,
    compressors: Sequence[Compressor],
    progress: Listener = None,
    scored: Scored = lambda _each: None,
    given: Mapping[str, Any] | None = None,
    names: Names | None = None,
) -> Sweep:
    """Store a fine-tune with each compressor, read it back, and score it.

    Every score is that of weights exported from a bank, that of the fine-tune itself too, which
    comes first, and that of the base, which comes last. A compressor that fails, or whose score is
    no finite number, does not stop the others; nor does the base.

    Args:
        base: the base's weights.
        tuned: the fine-tune's.
        evaluate: called with the path of a safetensors file that is deleted afterwards.
        compressors: what to try.
        progress: a ``Progress``, or a function that is called with compressors done and in all.
        scored: called with the ``Point`` of each compressor as it comes, or its ``Failure``.
        given: what an artefact's files lack, by name; see ``Bank.add``.
        names: the fine-tune's name for each of the base's, if no way is found; see ``Bank.add``.

    Returns:
        The scores and sizes, and what failed.

    Raises:
        CheckpointError: of the fine-tune itself: ``evaluate`` raised, or returned no finite number.
        TvbankError: of the fine-tune itself: as ``Bank.add``.
    """
    options = {"given": given, "names": names}
    steps: list[Compressor] = [Exact(), *compressors]
    total = len(steps) + 1
    points: list[Point] = []
    failures: list[Failure] = []
    shown = listener(progress, "compressors")
    with tempfile.TemporaryDirectory(prefix="tvbank-sweep-") as folder:
        bank = create(Path(folder) / "bank", base=base)
        for done, compressor in enumerate(steps):
            detail = " ".join(map(str, compressor.describe().values()))
            shown.report("", done, total, "compressors", detail)
            try:
                point = score_of(bank, tuned, compressor, evaluate, Path(folder), options)
            except TvbankError as error:
                if done == 0:  # no score is lost, and all others would fail likewise
                    raise
                failures.append(Failure(compressor.describe(), str(error)))
                scored(failures[-1])
                continue
            points.append(point)
            if done:
                scored(point)
        shown.report("", len(steps), total, "compressors", "base")
        try:
            base_score = score_of(bank, base, Exact(), evaluate, Path(folder), {}).score
        except TvbankError:  # it may lack what the evaluation looks for: a head, mostly
            base_score = None
        shown.report("", total, total, "compressors")
    return Sweep(points[0].score, tuple(points[1:]), tuple(failures), base_score)


def score_of(
    bank: Bank,
    tuned: CheckpointSource,
    compressor: Compressor,
    evaluate: Evaluate,
    folder: Path,
    options: Mapping[str, Any],
) -> Point:
    """Store a fine-tune in a bank, read it back, and score what was read.

    Args:
        bank: of its base; a task there is replaced.
        tuned: the fine-tune's weights.
        compressor: how it is stored.
        evaluate: see ``sweep``.
        folder: for the checkpoint that is scored.
        options: further ones of ``Bank.add``.

    Raises:
        CheckpointError: ``evaluate`` raised, or returned no finite number.
        TvbankError: as ``Bank.add``.
    """
    start = time.monotonic()
    mismatched = {"replace_mismatched": True}
    task = bank.add(_TASK, tuned, compressor, replace=True, **mismatched | dict(options))
    seconds = time.monotonic() - start
    path = export(bank, _TASK, out=folder / "restored.safetensors")
    try:
        described = compressor.describe()
        setting = f"{described['name']} {setting_of(described)}".rstrip()
        score = _score(evaluate, path, setting)
    finally:
        path.unlink(missing_ok=True)
    bank.gc(0)
    return Point(
        task.compressor,
        task.stored_bytes,
        task.bits_per_parameter,
        task.stored_bytes / max(bank.layout.unit_bytes, 1),
        score,
        seconds,
    )


def _score(evaluate: Evaluate, path: Path, setting: str) -> float:
    """What the evaluation says of a checkpoint.

    Raises:
        CheckpointError: no finite number; names the setting.
    """
    try:
        value = evaluate(path)
    except TvbankError:
        raise
    except (Exception, SystemExit) as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CheckpointError(
            f"{setting}: the evaluation failed on the restored checkpoint: {what}"
        ) from error
    try:
        if isinstance(value, str | bytes | bytearray):  # which float() would parse
            raise TypeError
        score = float(value)
    except Exception as error:  # tensors have errors of their own
        raise CheckpointError(
            f"{setting}: the evaluation returned a {type(value).__name__}, not a number"
        ) from error
    if not math.isfinite(score):
        raise CheckpointError(
            f"{setting}: the evaluation returned {score}, which is no score: return a finite number"
        )
    return score
