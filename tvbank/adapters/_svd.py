"""The best adapter of a rank for a difference that was none: truncated SVD, unit by unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray


@final
@dataclass(frozen=True)
class Approximation:
    """A product near a matrix, and what it leaves.

    Attributes:
        b: float32 [rows, rank].
        a: float32 [rank, columns].
        left_out: sum of the squares of what is not in the product.
        total: sum of the squares of the matrix.
    """

    b: NDArray[np.float32]
    a: NDArray[np.float32]
    left_out: float
    total: float


def approximate(matrix: NDArray[Any], rank: int) -> Approximation:
    """The product of a rank that is nearest to a matrix, in the sum of squares.

    Args:
        matrix: [rows, columns], finite.
        rank: at least 1; of a matrix of fewer sides, as many as these.
    """
    wide = matrix.astype(np.float64)
    u, s, v = np.linalg.svd(wide, full_matrices=False)
    rank = min(rank, len(s))
    root = np.sqrt(s[:rank])
    b = (u[:, :rank] * root).astype(np.float32)
    a = (root[:, None] * v[:rank]).astype(np.float32)
    return Approximation(b, a, float((s[rank:] ** 2).sum()), float((s**2).sum()))
