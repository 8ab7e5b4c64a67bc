"""What users hold of a unit: its entries, sparse or dense, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, final

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.allocating import working_bytes, zeros
from tvbank.bank.entries import Sparse, fill, join
from tvbank.bank.frames import StoredFrame
from tvbank.bank.lineage import dense_over, sparse_over
from tvbank.bank.products import Products
from tvbank.bank.reader import DeltaReader
from tvbank.errors import BaseMismatchError
from tvbank.layout import UnitRecord, fingerprint


class Owner(Protocol):
    """What a unit asks of its task, which is defined after it: see ``Task``."""

    @property
    def needs_base(self) -> bool:
        """Whether its entries can be read only beside the base's weights."""

    @property
    def products(self) -> Products:
        """Its units that are products, by name."""

    def frames(self, unit: str) -> Iterator[StoredFrame]:
        """The frames of a unit, undecoded."""

    def decode(
        self, frame: StoredFrame, base: NDArray[Any] | None = None
    ) -> tuple[NDArray[np.uint32], NDArray[Any]]:
        """Positions in a frame's chunk and the entries there."""


@final
class Unit:
    """The entries of one unit of one task; nothing is read before it is asked for."""

    def __init__(
        self,
        task: Owner,
        reader: DeltaReader,
        record: UnitRecord,
        lineage: Sequence[DeltaReader] = (),
    ) -> None:
        self._task, self._reader, self._record, self._lineage = task, reader, record, lineage

    @property
    def name(self) -> str:
        """The parameter's name."""
        return self._record.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the parameter."""
        return self._record.shape

    @property
    def size(self) -> int:
        """Number of the parameter's entries."""
        return self._record.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type of the entries: float32 differences, or int32 steps of an exact task."""
        return self._reader.dtype

    def to_sparse(self, base: NDArray[Any] | None = None) -> Sparse:
        """Positions and values of the entries that are not zero.

        Args:
            base: the unit's weights in the base, for a task that ``needs_base``.

        Returns:
            positions: int64 [nonzeros], ascending, in the flattened unit.
            values: float32 or int32 [nonzeros].

        Raises:
            CorruptionError: what is stored is missing or damaged; says task, unit, byte range.
            BaseNeededError: the task needs the base, and there is none.
            BaseMismatchError: other weights than the base's were given.
        """
        if self._task.needs_base and base is not None:
            dense = self._beside(base)
            positions = np.flatnonzero(dense)
            return positions, dense[positions]
        if self._lineage:
            return sparse_over(self._lineage, self._record)
        if (product := self._task.products.get(self.name)) is not None:
            return product.to_sparse()
        return join(self._reader, self._reader.frames(self._record))

    def to_dense(self, base: NDArray[Any] | None = None) -> NDArray[Any]:
        """All entries, in the unit's shape, float32 or int32.

        Args:
            base: the unit's weights in the base, for a task that ``needs_base``.

        Raises:
            CorruptionError: what is stored is missing or damaged; says task, unit, byte range.
            BaseNeededError: the task needs the base, and there is none.
            BaseMismatchError: other weights than the base's were given.
        """
        if self._task.needs_base and base is not None:
            return self._beside(base).reshape(self.shape)
        if self._lineage:
            return dense_over(self._lineage, self._record).reshape(self.shape)
        if (product := self._task.products.get(self.name)) is not None:
            return product.to_dense()
        what = f"unit {self.name!r}, dense,"
        dense = zeros(
            self.size, self.dtype, what, "to_sparse() reads only what is not zero",
            working_bytes(self._reader.chunk_length, self.size, threads=1),
        )  # fmt: skip
        fill(self._reader, self._reader.frames(self._record), dense)
        return dense.reshape(self.shape)

    def _beside(self, base: NDArray[Any]) -> NDArray[np.int32]:
        """All entries, [size], decoded beside the base's weights."""
        what = f"unit {self.name!r}, dense,"
        dense = zeros(
            self.size, self.dtype, what, "read frame by frame: Task.frames",
            working_bytes(self._reader.chunk_length, self.size, threads=1),
        )  # fmt: skip
        if fingerprint(base) != self._record.sha256:
            raise BaseMismatchError(
                f"these are not the base's weights of unit {self.name!r}", [self.name]
            )
        flat, length = np.ascontiguousarray(base).reshape(-1), self._reader.chunk_length
        for frame in self._task.frames(self.name):
            block = flat[frame.first : frame.first + length]
            positions, steps = self._task.decode(frame, block)
            dense[frame.first + positions.astype(np.intp)] = steps
        return dense

    def __repr__(self) -> str:
        return f"Unit({self.name!r}, shape={self.shape}, dtype={self.dtype})"
