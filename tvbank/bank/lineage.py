"""The entries of a task that is steps from another one's state: from the base, over its ancestors.

A lineage is the tasks on the way, the one that starts from the base first, the task itself last.
Each has steps of its own; the sum of all, modulo the unit's width, leads from the base to the task.
``weights_after`` is the one place that walks from the base's weights to those of a parent.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.allocating import working_bytes, zeros
from tvbank.bank.entries import Sparse, fill
from tvbank.bank.frames import StoredFrame
from tvbank.bank.reader import DeltaReader
from tvbank.compress.exact import steps_between
from tvbank.dtypes import DTYPES
from tvbank.layout import UnitRecord

#: A frame of one task of a lineage, and the reader that decodes it.
Link = tuple[DeltaReader, StoredFrame]


@final
@dataclass(frozen=True)
class ChainedFrame(StoredFrame):
    """One chunk of a chain. It has no bytes of its own: only ``Task.decode`` can read it.

    Attributes:
        links: a frame of each task that changes the chunk, in the order of the lineage.
    """

    links: tuple[Link, ...]


def chained_frames(lineage: Sequence[DeltaReader], unit: UnitRecord) -> Iterator[StoredFrame]:
    """The frames of a unit over a lineage, chunk by chunk.

    Raises:
        CorruptionError: as ``DeltaReader.frames``.
    """
    each = (zip(repeat(reader), reader.frames(unit)) for reader in lineage)
    here: list[Link] = []
    # ``merge`` is stable: frames of one chunk come in the order of the lineage.
    for link in heapq.merge(*each, key=lambda link: link[1].first):
        if here and here[0][1].first != link[1].first:
            yield _chained(here)
            here = []
        here.append(link)
    if here:
        yield _chained(here)


def _chained(links: Sequence[Link]) -> ChainedFrame:
    last = links[-1][1]
    return ChainedFrame(last.unit, last.first, b"", last.key, last.start, tuple(links))


def decode_chained(
    frame: ChainedFrame, base: NDArray[Any] | None = None
) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
    """Positions in a chunk and the steps there that lead from the base to the end of a lineage.

    Args:
        frame: of a chain.
        base: the base's weights of the chunk, [n], for links that are given what they start from.

    Raises:
        BaseNeededError: a link is given the base, and there is none.
        CorruptionError: a frame violates the format; says task, unit and byte range.
    """
    if base is not None and any(reader.needs_base for reader, _ in frame.links):
        total = steps_between(base, weights_after(base, frame.links))
        positions = np.flatnonzero(total).astype(np.uint32)
        return positions, total[positions]
    reader = frame.links[0][0]
    total = np.zeros(min(reader.chunk_length, frame.unit.size - frame.first), np.int32)
    for reader, stored in frame.links:
        positions, steps = reader.decode(stored)
        with np.errstate(over="ignore"):
            total[positions] += steps
    total = _wrapped(total, frame.unit)
    positions = np.flatnonzero(total).astype(np.uint32)
    return positions, total[positions]


def weights_after(
    block: NDArray[Any], links: Iterable[Link], *, in_place: bool = False
) -> NDArray[Any]:
    """The weights of a chunk after some tasks: from the base's, those of a parent.

    Args:
        block: the base's weights of the chunk, [n].
        links: the frames of the chunk, in the order of the lineage.
        in_place: whether ``block`` itself becomes them; contiguous.

    Raises:
        CorruptionError: a frame violates the format; says task, unit and byte range.
    """
    from tvbank.coding.steps import take_steps_at  # numba: only when something is decoded

    made = block if in_place else block.copy()
    for reader, stored in links:
        take_steps_at(made, *reader.decode(stored, made))
    return made


def dense_over(lineage: Sequence[DeltaReader], unit: UnitRecord) -> NDArray[np.int32]:
    """All steps of a unit that lead from the base to the end of a lineage, [size].

    Raises:
        CorruptionError: a frame violates the format; says task, unit and byte range.
        TooLargeError: there is not enough memory.
    """
    total = zeros(
        2 * unit.size, np.dtype(np.int32), f"unit {unit.name!r}, dense,", "read frame by frame",
        working_bytes(lineage[0].chunk_length, unit.size, threads=1),
    )  # fmt: skip
    total, one = total[: unit.size], total[unit.size :]
    for reader in lineage:
        one[:] = 0
        fill(reader, reader.frames(unit), one)
        with np.errstate(over="ignore"):
            total += one
    return _wrapped(total, unit)


def sparse_over(lineage: Sequence[DeltaReader], unit: UnitRecord) -> Sparse:
    """Positions of a unit and the steps there, as ``dense_over``."""
    dense = dense_over(lineage, unit)
    positions = np.flatnonzero(dense)
    return positions, dense[positions]


def _wrapped(steps: NDArray[np.int32], unit: UnitRecord) -> NDArray[np.int32]:
    """Sums of steps modulo the width of a unit's elements, from half of it below zero on."""
    width = DTYPES[unit.dtype].itemsize
    return steps if width == 4 else steps.astype(f"<i{width}").astype(np.int32)
