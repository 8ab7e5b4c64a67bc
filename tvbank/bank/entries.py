"""The entries of a unit, put together from its frames."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.reader import DeltaReader, StoredFrame
from tvbank.layout import UnitRecord

#: Positions within a unit, int64 [nonzeros], ascending, and the entries there.
Sparse = tuple[NDArray[np.int64], NDArray[Any]]


def join(reader: DeltaReader, frames: Iterable[StoredFrame]) -> Sparse:
    """Positions and entries of a unit.

    Raises:
        CorruptionError: a frame violates the format; says task, unit and byte range.
    """
    positions: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    entries: list[NDArray[Any]] = [np.empty(0, reader.dtype)]
    for frame in frames:
        found, values = reader.decode(frame)
        positions.append(np.add(found, frame.first, dtype=np.int64))
        entries.append(values)
    return np.concatenate(positions), np.concatenate(entries)


def fill(reader: DeltaReader, unit: UnitRecord, frames: Iterable[StoredFrame]) -> NDArray[Any]:
    """All entries of a unit, in its shape.

    Raises:
        CorruptionError: a frame violates the format; says task, unit and byte range.
    """
    from tvbank.bank.scatter import scatter  # numba: only when something is decoded

    dense = np.zeros(unit.size, reader.dtype)
    for frame in frames:
        scatter(*reader.decode(frame), dense[frame.first :])
    return dense.reshape(unit.shape)
