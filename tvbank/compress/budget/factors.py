"""Sharing bytes among the factors of an adapter: one step for all that they change.

The factors of a product are free up to an invertible matrix between them: they are turned until
components are orthogonal, by singular values. A number of a factor then harms the sum of squares
of all that the adapter changes by the square of its error times the other factor's, so one step,
divided by the other side's norm, is right for every number of every component: what is small
beside the step rounds to zeros, takes few bits, or vanishes whole. The step is the finest that the
bytes allow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.levels import LARGEST
from tvbank.coding.packed import MOST_COMPONENTS, pack_factors
from tvbank.compress.protocol import Each
from tvbank.dtypes import DTYPES

#: Below this share of a step a number is 0: beyond a half, as zeros take fewer bits.
_DEAD: Final = 0.6
#: What a bit must spare of squared error, in squares of the step: for a fine step a bit more for
#: each number divides their error by 4.
_PRICE: Final = float(np.log(2) / 6)
#: Halvings of the interval of steps; the last is below a thousandth.
_ROUNDS: Final = 14


@final
@dataclass(frozen=True, eq=False)
class Rounded:
    """Both factors in levels.

    Attributes:
        levels: int32 [components, rows + columns], those of B's columns, then of A's rows.
        steps: bfloat16 [components], that A's levels are multiplied by.
    """

    levels: NDArray[np.int32]
    steps: NDArray[Any]

    @property
    def bytes(self) -> float:
        """What they take when packed, nearly: their entropy."""
        return sum(_bits(each) + 16 for each in self.levels) / 8


@final
@dataclass(frozen=True, eq=False)
class Components:
    """A product s·B·A by its singular values.

    Attributes:
        u: float64 [rows, components], orthonormal columns.
        values: float64 [components], descending, above 0.
        v: float64 [components, columns], orthonormal rows.
        scale: |s|, which the packed factors are multiplied by, too, with its sign.
    """

    u: NDArray[np.float64]
    values: NDArray[np.float64]
    v: NDArray[np.float64]
    scale: float

    @staticmethod
    def of(b: NDArray[Any], a: NDArray[Any], scale: float) -> Components:
        """Those of B [rows, rank] and A [rank, columns]."""
        wide, high = a.astype(np.float64), b.astype(np.float64)
        left, upper = np.linalg.qr(high)
        right, lower = np.linalg.qr(wide.T)
        size = abs(float(np.float32(scale)))
        u, values, v = np.linalg.svd(upper @ lower.T * size, full_matrices=False)
        u, v = left @ u, v @ right.T
        kept = values > values.max(initial=0) * 1e-12
        kept[MOST_COMPONENTS:] = False
        return Components(u[:, kept], values[kept], v[kept], size)

    def packed(self, step: float) -> bytes | None:
        """The factors in steps of ``step``, as a bank holds them; ``None`` if all are zero."""
        rounded = self.rounded(step)
        if rounded is None:
            return None
        return pack_factors(rounded.levels, rounded.steps.view(np.uint16), len(self.u))

    def rounded(self, step: float) -> Rounded | None:
        """The factors in steps of ``step``; ``None`` if all are zero."""
        levels = _levels(self.u * self.values, step)
        alive = levels.any(0)
        if not alive.any():
            return None
        high = levels[:, alive].astype(np.float64)
        # The row that is best beside a rounded column is not the one that was beside the column.
        norms = np.sqrt((high**2).sum(0))
        even = high / norms
        across = even.T @ (self.u * self.values)
        wanted = np.linalg.lstsq(even.T @ even, across, rcond=None)[0] @ self.v / norms[:, None]
        largest = np.abs(wanted).max(1)
        steps = np.maximum(step / norms, largest / LARGEST) / self.scale
        steps = steps.astype(DTYPES["bfloat16"])
        each = steps.astype(np.float64) * self.scale
        fine = np.where(each == 0, 1, each)
        rows = _levels((wanted / fine[:, None]).T, 1.0).T
        worth = self._worth(high, rows, fine, step)
        if not worth.any():
            return None
        both = np.concatenate([levels[:, alive].T, rows], 1)[worth]
        return Rounded(np.ascontiguousarray(both), steps[worth])

    def _worth(
        self,
        high: NDArray[np.float64],
        rows: NDArray[np.int32],
        fine: NDArray[np.float64],
        step: float,
    ) -> NDArray[np.bool_]:
        """Of each rounded component, whether it spares more than its bits cost."""
        made = np.sqrt((high**2).sum(0) * (rows.astype(np.float64) ** 2).sum(1)) * np.abs(fine)
        there = (high.T @ self.u * self.values * (rows @ self.v.T)).sum(1) * fine
        spared = 2 * there - made**2
        bits = np.array([_bits(high[:, k]) + _bits(rows[k]) for k in range(len(fine))])
        worth: NDArray[np.bool_] = spared > _PRICE * step**2 * (bits + 16)
        return worth


def share_bytes(
    products: Sequence[Components],
    size_of: Callable[[list[bytes | None]], int],
    size: int,
    each: Each,
) -> list[bytes | None]:
    """Pack products so that they take a size, or little less.

    Args:
        products: of one adapter.
        size_of: the bytes that packed products take in the bank.
        size: the most bytes; at least what they take when all of them are ``None``.
        each: spreads the work.
    """
    if not products:
        return []
    largest = max(float(each.values.max(initial=0)) for each in products)
    if not largest:
        return [None] * len(products)
    coarse, fine = np.log(4 * largest), np.log(largest / LARGEST)
    best: list[bytes | None] = [None] * len(products)
    for _ in range(_ROUNDS):
        middle = (coarse + fine) / 2
        pack = partial(Components.packed, step=float(np.exp(middle)))
        tried = list(each(pack, products))
        if size_of(tried) <= size:
            best, coarse = tried, middle
        else:
            fine = middle
    return best


def _levels(numbers: NDArray[np.float64], step: float) -> NDArray[np.int32]:
    size = np.abs(numbers) / step
    rounded = np.where(size < _DEAD, 0, np.maximum(np.rint(size), 1))
    return (np.sign(numbers) * np.minimum(rounded, LARGEST)).astype(np.int32)


def _bits(levels: NDArray[Any]) -> float:
    """Entropy of levels, by their own frequencies."""
    _, counts = np.unique(levels, return_counts=True)
    return float(-(counts * np.log2(counts / counts.sum())).sum())
