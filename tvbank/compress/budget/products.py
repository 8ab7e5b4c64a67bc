"""What can be kept of a full fine-tune's matrix as a product of few bits, and what that loses.

The largest singular values are found by subspace iteration, which reads the difference block by
block, from a start that is always the same; then they are packed as an adapter's factors are, in
steps of many sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from tvbank.compress.budget.factors import Components
from tvbank.compress.lossy import Difference
from tvbank.compress.protocol import PackedProduct

#: Components that are looked for; those beyond them that the iteration carries; its rounds.
_COMPONENTS: Final = 64
_SPARE: Final = 8
_ROUNDS: Final = 3
#: Entries that are multiplied at once.
_BLOCK: Final = 2**20
#: Steps that are tried, an octave, from the largest singular value down; and how many at most.
_STEPS: Final = 2
_MOST_STEPS: Final = 40
#: Finer steps are not tried once a product keeps this share of what its components could.
_NEARLY: Final = 0.999
#: Sums of squares between which products of float32 neither vanish nor overflow.
_LEAST_ENERGY, _MOST_ENERGY = 1e-30, 1e30
#: Halvings of the interval of steps of one unit.
_CUTS: Final = 10


@final
@dataclass(frozen=True, eq=False)
class Option:
    """One product that a unit can be kept as; packed only if it is asked for.

    Attributes:
        components: the unit's largest singular values.
        step: of their levels.
        size_of: the bytes of a product in the bank.
        likely: bytes that it takes there, foretold.
        lost: sum of the squares of what it lacks, as a share of the unit's.
    """

    components: Components
    step: float
    size_of: Callable[[PackedProduct], int]
    likely: float
    lost: float

    @cached_property
    def product(self) -> PackedProduct:
        """Its packed factors."""
        packed = self.components.packed(self.step)
        assert packed is not None
        return PackedProduct(packed, len(self.components.values))

    @property
    def size(self) -> int:
        """Bytes that it takes in the bank."""
        return self.size_of(self.product)


@final
@dataclass(frozen=True, eq=False)
class Products:
    """The products that a unit can be kept as.

    Attributes:
        components: the unit's largest singular values.
        energy: sum of the squares of the unit's entries.
        size_of: the bytes of a product in the bank.
        options: from the largest step to the smallest.
    """

    components: Components
    energy: float
    size_of: Callable[[PackedProduct], int]
    options: Sequence[Option]

    @staticmethod
    def of(
        delta: Difference,
        shape: tuple[int, ...],
        energy: float,
        size_of: Callable[[PackedProduct], int],
        most: int,
    ) -> Products:
        """Those of a unit; none of one that has no two sides, or is beyond what float32 multiplies.

        Args:
            delta: its entries.
            shape: of it.
            energy: sum of their squares.
            size_of: the bytes of a product in the bank.
            most: products of more bytes are of no use.

        Raises:
            NonFiniteError: an entry is not finite.
        """
        rows, columns = shape[0] if shape else 1, math.prod(shape[1:])
        if min(rows, columns) < 2 or not _LEAST_ENERGY < energy < _MOST_ENERGY:
            none = Components(np.empty((rows, 0)), np.empty(0), np.empty((0, columns)), 1.0)
            return Products(none, energy, size_of, ())
        components = leading(_Matrix(delta, rows, columns), _COMPONENTS)
        found = Products(components, energy, size_of, ())
        return Products(components, energy, size_of, list(found._try(most)))

    def at(self, step: float) -> Option | None:
        """The product in steps of a size; None if nothing is left of it."""
        parts = self.components
        rounded = parts.rounded(step)
        if rounded is None:
            return None
        levels, rows = rounded.levels.astype(np.float64), len(parts.u)
        b, a = levels[:, :rows].T, levels[:, rows:] * rounded.steps.astype(np.float64)[:, None]
        along = float(((b.T @ (parts.u * parts.values)) * (a @ parts.v.T)).sum()) / self.energy
        whole = float(((b.T @ b) * (a @ a.T)).sum()) / self.energy
        # Its record alone, and what follows from its levels.
        likely = self.size_of(PackedProduct(b"", len(parts.values))) + rounded.bytes
        return Option(parts, step, self.size_of, likely, 1 - 2 * along + whole)

    def fit(self, allowed: int) -> Option | None:
        """The product of the most bytes that are allowed, if there is one."""
        fitting = next(
            (n for n, each in enumerate(self.options) if each.size > allowed), len(self.options)
        )
        best = self.options[fitting - 1] if fitting else None
        if fitting == len(self.options):
            return best
        low = math.log2(self.options[fitting].step)
        far = math.log2(float(self.components.values[0]) * 4 if best is None else best.step)
        for _ in range(_CUTS):
            middle = (low + far) / 2
            found = self.at(2.0**middle)
            if found is not None and found.size > allowed:
                low = middle
                continue
            far = middle
            if found is not None and (best is None or found.size > best.size):
                best = found
        return best

    def _try(self, most: int) -> Iterator[Option]:
        values = self.components.values
        if not len(values):
            return
        kept = float((values**2).sum()) / self.energy
        step = float(values[0])
        for _ in range(_MOST_STEPS):
            option = self.at(step)
            step *= 2 ** (-1 / _STEPS)
            if option is None:
                continue
            if option.likely > most:
                return
            yield option
            if 1 - option.lost >= _NEARLY * kept:
                return


@final
class _Matrix:
    """A unit's difference by its rows, of which a block at a time exists."""

    def __init__(self, delta: Difference, rows: int, columns: int) -> None:
        self.rows, self.columns, self._delta = rows, columns, delta

    def times(self, right: NDArray[np.float32]) -> NDArray[np.float32]:
        """The matrix times [columns, k]."""
        return np.concatenate([block @ right for _, block in self._blocks()])

    def transposed_times(self, left: NDArray[np.float32]) -> NDArray[np.float32]:
        """Its transpose times [rows, k]."""
        total = np.zeros((self.columns, left.shape[1]), np.float32)
        for first, block in self._blocks():
            total += block.T @ left[first : first + len(block)]
        return total

    def _blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """First row and rows of every block."""
        height = max(1, _BLOCK // self.columns)
        for first in range(0, self.rows, height):
            stop = min(first + height, self.rows)
            block = self._delta.block(first * self.columns, stop * self.columns)
            yield first, block.reshape(-1, self.columns)


def leading(matrix: _Matrix, count: int) -> Components:
    """The largest singular values of a matrix, nearly, with their vectors.

    Args:
        matrix: that is read some times.
        count: of them, at most.
    """
    wide = min(count + _SPARE, matrix.rows, matrix.columns)
    start = np.random.default_rng(0).standard_normal((matrix.columns, wide), np.float32)
    for _ in range(_ROUNDS):
        across = np.linalg.qr(matrix.times(start))[0]
        start = np.linalg.qr(matrix.transposed_times(across))[0]
    narrow = matrix.times(start).astype(np.float64)
    u, values, v = np.linalg.svd(narrow, full_matrices=False)
    kept = values[:count] > values.max(initial=0) * 1e-6
    v = (v @ start.T.astype(np.float64))[:count]
    return Components(u[:, :count][:, kept], values[:count][kept], v[kept], 1.0)


def leading_of(matrix: NDArray[np.float32], count: int) -> Components:
    """The largest singular values of an array [rows, columns]."""
    delta = Difference("", np.zeros_like(matrix), matrix)
    return leading(_Matrix(delta, *matrix.shape), count)
