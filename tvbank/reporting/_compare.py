"""``compare``: what a fine-tune changed, from two checkpoints alone."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank._progress import Counter, Listener, listener
from tvbank._version import __version__
from tvbank.bank.ahead import all_cores, run_ahead
from tvbank.checkpoint import Checkpoint, CheckpointSource, borrow_checkpoint
from tvbank.dtypes import DTYPES
from tvbank.layout import UnitRecord, build_layout
from tvbank.naming import Names
from tvbank.reporting._loops import distance, length
from tvbank.reporting._places import place_of
from tvbank.reporting._totals import finite, share
from tvbank.reporting.facts import Change, UnitChange
from tvbank.reporting.figures import shown
from tvbank.vector import BaseModel, FineTune

#: An effective rank is computed from at most so many rows and columns of a matrix.
_ROWS, _COLUMNS = 2048, 256

#: Singular values below this share of the largest are what float32 rounds, and do not count.
_FLOOR = 1e-3

#: Entries that are compared at a time.
_BLOCK = 2**18

#: A change is called low rank if its effective rank is below the first share of the largest rank
#: possible, and full rank above the second.
_LOW, _FULL = 0.1, 0.5


def compare(
    old: CheckpointSource,
    new: CheckpointSource,
    *,
    names: Names | None = None,
    progress: Listener = None,
) -> Change:
    """Say how one checkpoint differs from another, unit by unit.

    Args:
        old: the weights before, the base.
        new: those after, the fine-tune; its names may differ, see ``tvbank.naming``.
        names: the new checkpoint's name for each of the old one's, if no way is found.
        progress: a ``Progress``, or a function that is called with bytes done and in all.

    Raises:
        CheckpointError: a checkpoint cannot be read.
        UnitMismatchError: the new checkpoint lacks units of the old one; names them.
    """
    with (
        borrow_checkpoint(old) as before,
        borrow_checkpoint(new) as after,
        all_cores() as pool,
        _one_thread(),
    ):
        layout = build_layout(before)
        tuned = FineTune(layout, BaseModel(layout, before), after, names=names)
        counter = Counter(listener(progress), layout.unit_bytes)
        pairs = [
            unit
            for unit in layout.units
            if unit.name not in tuned.absent and tuned.spec(unit.name).shape == unit.shape
            and tuned.spec(unit.name).dtype == unit.dtype
        ]  # fmt: skip

        def start(unit: UnitRecord) -> Any:
            base, other = tuned.base.read_unchecked(unit.name), tuned.read(unit.name)
            future = pool.submit(_changed, unit, base, other)
            return lambda: (*future.result(), base, other)

        units = []
        for unit, sums, base, other in run_ahead(pairs, start, lambda unit: 2 * _bytes(unit)):
            rank, most = effective_rank(base, other) if unit.change else (None, None)
            units.append((replace(unit, rank=rank, most=most), sums))
            counter.advance(_bytes(layout.by_name[unit.unit]))
        there = {unit.name for unit in pairs}
        whole = [u.name for u in layout.units if u.name not in there and u.name not in tuned.absent]
        whole += [record.name for record in layout.whole if tuned.has_changed(record)]
        whole += [*tuned.pairing.untied(), *tuned.pairing.further()]
        return _told(before, after, units, whole, tuned.remarks)


def _one_thread() -> AbstractContextManager[object]:
    """Keep linear algebra on one thread inside the block, if threadpoolctl is installed.

    Several threads would wait for each other in busy loops, which on a loaded machine costs ten
    times the work itself.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return nullcontext()
    limits: AbstractContextManager[object] = threadpool_limits(1, user_api="blas")
    return limits


def _bytes(unit: UnitRecord) -> int:
    return unit.size * DTYPES[unit.dtype].itemsize


def _changed(
    record: UnitRecord, base: NDArray[Any], tuned: NDArray[Any]
) -> tuple[UnitChange, tuple[float, float]]:
    """What changed of one unit, without its rank, and its ‖ΔW‖² and ‖W‖²; runs on any thread."""
    start, end = (array.reshape(-1) for array in (base, tuned))
    apart = old = 0.0
    others = 0
    kind = f"<u{start.dtype.itemsize}"
    for first in range(0, record.size, _BLOCK):
        block, other = start[first : first + _BLOCK], end[first : first + _BLOCK]
        others += int(np.count_nonzero(block.view(kind) != other.view(kind)))
        single = block.astype(np.float32)
        apart += float(distance(single, other.astype(np.float32)))
        old += float(length(single))
    layer, module = place_of(record.name)
    change = UnitChange(
        unit=record.name,
        shape=record.shape,
        layer=layer,
        module=module,
        size=record.size,
        changed=others / record.size if record.size else 0.0,
        norm=math.sqrt(old) if math.isfinite(old) else None,
        change=math.sqrt(apart) if math.isfinite(apart) else None,
        relative=finite(share(apart, old)) if old else None,
        rank=None,
        most=None,
    )
    return change, (apart, old)


def effective_rank(
    base: NDArray[Any], tuned: NDArray[Any]
) -> tuple[float, int] | tuple[None, None]:
    """E to the entropy of the singular values of the difference, over their sum (Roy, Vetterli).

    A tensor counts as the matrix of its first side by all others together; of a large one 2,048
    rows and 256 columns are taken, evenly spread.

    Returns:
        The rank and the largest that it could be; twice None if the tensor is no matrix, or if
        nothing changed in the rows and columns taken.
    """
    if base.ndim < 2 or min(base.shape[0], math.prod(base.shape[1:])) < 2:
        return None, None
    matrices = [array.reshape(array.shape[0], -1) for array in (tuned, base)]
    rows, columns = matrices[0].shape
    some = np.ix_(_spread(rows, _ROWS), _spread(columns, _COLUMNS))
    new, old = (matrix[some].astype(np.float32) for matrix in matrices)
    delta = new - old
    if delta.shape[0] < delta.shape[1]:
        delta = delta.T
    largest = float(np.abs(delta).max())
    if largest == 0:
        return None, None
    delta = delta / np.float32(largest)
    squares = np.linalg.eigvalsh((delta.T @ delta).astype(np.float64))
    singular = np.sqrt(np.clip(squares, 0, None))
    singular = singular[singular > _FLOOR * singular[-1]]
    shares = singular / singular.sum()
    return float(np.exp(-(shares * np.log(shares)).sum())), int(min(delta.shape))


def _spread(count: int, most: int) -> NDArray[np.int64]:
    """The numbers of at most ``most`` of ``count`` rows, evenly spread."""
    taken = min(count, most)
    return np.arange(taken, dtype=np.int64) * count // taken


def _told(
    before: Checkpoint,
    after: Checkpoint,
    measured: Sequence[tuple[UnitChange, tuple[float, float]]],
    whole: Sequence[str],
    remarks: Sequence[str],
) -> Change:
    units = tuple(unit for unit, _ in measured)
    parameters = sum(unit.size for unit in units)
    changed = sum(unit.changed * unit.size for unit in units) / parameters if parameters else 0.0
    apart = math.fsum(a for _, (a, _) in measured if math.isfinite(a))
    old = math.fsum(o for _, (_, o) in measured if math.isfinite(o))
    relative = share(apart, old) if old else None
    ranks = [unit.rank / unit.most for unit in units if unit.rank and unit.most]
    spread = statistics.median(ranks) if ranks else None
    return Change(
        old=before.source,
        new=after.source,
        version=__version__,
        sentence=_sentence(parameters, changed, relative, spread, units, whole),
        parameters=parameters,
        changed=changed,
        relative=relative,
        rank_share=spread,
        units=units,
        whole=tuple(whole),
        remarks=tuple(remarks),
    )


def _sentence(
    parameters: int,
    changed: float,
    relative: float | None,
    spread: float | None,
    units: Sequence[UnitChange],
    whole: Sequence[str],
) -> str:
    """What changed, in one plain sentence."""
    beside = f", and {len(whole)} tensors are new or of another kind" if whole else ""
    if not changed:
        return f"None of the {parameters:,} parameters changed{beside}."
    said = f"Of {parameters:,} parameters {shown(changed, 'percent')} changed"
    squares: dict[str, float] = defaultdict(float)
    for unit in units:
        if unit.change is not None:
            squares[unit.module] += unit.change**2
    total = math.fsum(squares.values())
    if total:
        module = max(squares, key=lambda name: squares[name])
        part = shown(squares[module] / total, "percent")
        said += f"; most of it in {module} ({part} of the squared change)"
    moved = [u.relative for u in units if u.relative and len(u.shape) > 1]
    if moved:
        said += "; half of the matrices that changed moved by at least "
        said += f"{shown(statistics.median(moved), 'percent')} of their size"
    elif relative is not None:
        said += f"; together by {shown(relative, 'percent')} of the size of the weights"
    if spread is not None:
        kind = "low rank" if spread < _LOW else "full rank" if spread > _FULL else "middling rank"
        said += (
            f"{' and' if moved else '; half of the matrices that changed'} spread the change over "
            f"at least {shown(spread, 'percent')} of their directions, which is {kind}"
        )
    return f"{said}{beside}."
