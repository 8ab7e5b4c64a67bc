"""The smallest size at which a fine-tune is no worse than a tolerance allows."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from tvbank._progress import Listener, listener
from tvbank.bank.bank import create
from tvbank.checkpoint import CheckpointSource
from tvbank.compress import Compressor, Exact
from tvbank.compress.budget.tolerance import Found, Tolerance
from tvbank.errors import UsageError
from tvbank.reporting._points import Point
from tvbank.reporting._sweep import score_of

#: Shares of the base's bytes that are tried: the first, the least and the most.
_FIRST, _LEAST, _MOST = 0.01, 1e-4, 0.25
#: Sizes grow or shrink by this factor until one is within the tolerance and one is not; then the
#: interval between them is halved so often.
_FACTOR, _HALVINGS = 4.0, 3
#: Two evaluations of the same weights may differ by this share of the tolerance.
_NOISE: Final = 0.25


_Compressor = TypeVar("_Compressor", bound=Any)


def within_tolerance(
    compressor: _Compressor,
    base: CheckpointSource,
    tuned: CheckpointSource,
    *,
    chunk_length: int,
    options: Mapping[str, Any],
    progress: Listener = None,
) -> _Compressor:
    """The compressor at the smallest size that its tolerance allows.

    Every value is of weights that were written to a bank and read back. The fine-tune is evaluated
    twice, then sizes a factor of four apart, from 1 % of the base on, until one is within the
    tolerance and the next is not; three more between them leave a factor of 1.2. So it takes
    about eight evaluations. Each further form of the compressor is tried at the smallest size of
    the forms before it, and at smaller ones if it is within the tolerance there.

    Args:
        compressor: has ``tolerance``, ``evaluate`` and ``budget``.
        base: the base's weights.
        tuned: the fine-tune's.
        chunk_length: of the bank that the task is for: sizes depend on it.
        options: further ones of ``Bank.add``, for the fine-tune.
        progress: a ``Progress``, or a function that is called with evaluations done and in all.

    Raises:
        UsageError: no size reaches it; or two evaluations of the same weights differ too much.
        CheckpointError: the evaluation failed, or returned no finite number.
    """
    tolerance, evaluate = Tolerance.parse(compressor.tolerance), compressor.evaluate
    shown = listener(progress, "evaluations")
    tried: dict[tuple[int, float], Point | None] = {}
    with tempfile.TemporaryDirectory(prefix="tvbank-tolerance-") as folder:
        bank = create(Path(folder) / "bank", base=base, chunk_length=chunk_length)

        def value(one: Compressor) -> Point:
            shown.report("evaluating", len(tried), len(tried) + 1, "evaluations", one.describe())
            return score_of(bank, tuned, one, evaluate, Path(folder), options)

        scores = [value(Exact()).score for _ in range(2)]
        if abs(scores[0] - scores[1]) > _NOISE * tolerance.amount:
            raise UsageError(
                f"the evaluation is noisy: it gave {scores[0]:g} and {scores[1]:g} for the same "
                f"weights, and the tolerance is {compressor.tolerance}: fix its seed, evaluate "
                "more examples, or allow more"
            )

        forms = [replace(form, tolerance=None, evaluate=None) for form in compressor.forms]

        def within(form: int, share: float) -> bool:
            if (form, share) not in tried:
                try:
                    tried[form, share] = value(replace(forms[form], budget=_written(share)))
                except UsageError:  # less than the task can take
                    tried[form, share] = None
            point = tried[form, share]
            return point is not None and tolerance.allows(point.score, scores[0])

        best, chosen = _search(partial(within, 0), _FIRST, _MOST), forms[0]
        for number, form in enumerate(forms[1:], 1):
            most = _MOST if best is None else best
            smaller = _search(partial(within, number), min(most, _FIRST), most)
            if smaller is not None:
                best, chosen = smaller, form
    points = sorted(filter(None, tried.values()), key=lambda point: point.stored_bytes)
    curve = tuple((point.stored_bytes, point.score) for point in points)
    if best is None:
        tried_sizes = ", ".join(f"{size:,} bytes {value:g}" for size, value in curve)
        raise UsageError(
            f"no size up to {_written(_MOST)} of the base is within {compressor.tolerance} of the "
            f"fine-tune's {scores[0]:g} ({tried_sizes}): allow more, or store it with Exact()"
        )
    found = Found(compressor.tolerance, scores[0], curve)
    settled: _Compressor = replace(chosen, budget=_written(best), found=found)
    return settled


def _search(within: Callable[[float], bool], first: float, most: float) -> float | None:
    """The smallest share found that is within the tolerance, if one is.

    Args:
        within: whether a share is.
        first: that is tried.
        most: the largest that is.
    """
    good = bad = None
    share = first
    while good is None or bad is None:
        if within(share):
            good = share
            share /= _FACTOR
            if share < _LEAST:
                return good
        else:
            bad = share
            if share == most:
                return good
            share = min(most, share * _FACTOR)
    for _ in range(_HALVINGS):
        middle = math.sqrt(good * bad)
        good, bad = (middle, bad) if within(middle) else (good, middle)
    return good


def _written(share: float) -> str:
    return f"{100 * share:.4g} %"
