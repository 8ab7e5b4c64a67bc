"""Linear discriminant analysis with shrinkage: the directions in which tasks differ most."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tvbank.routing._examples import Examples

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

#: Least share of shrinkage, and how many are tried from there on to one.
_LEAST, _TRIED = 1e-6, 50

#: Stands in for zero where that would be divided by.
_TINY = 1e-200


@dataclass(frozen=True, eq=False)
class Metric:
    """d(x, μ) = ‖L·(x − c) − L·(μ − c)‖₂ ([F] Eq. 18, centred).

    Attributes:
        centre: c, float32 [d].
        matrix: L, float32 [r, d].
    """

    centre: Floats
    matrix: Floats

    def project(self, points: Floats) -> Floats:
        """L·(x − c) of every row, [n, d] -> [n, r]."""
        projected: Floats = np.matmul(points - self.centre, self.matrix.T, dtype=np.float32)
        return projected


def discriminant(examples: Examples, rank: int | None = None) -> Metric:
    """The metric of shrinkage LDA, tasks weighing the same whatever their number of examples.

    L whitens what varies within tasks (features scaled to unit variance, their covariance shrunk
    towards a multiple of the identity, see ``_shrunk``), then keeps the directions in which the
    tasks' means vary, at most K - 1. It is found along the principal directions of the examples, of
    which there are no more than examples or features.

    Args:
        examples: of two tasks or more.
        rank: directions to keep; by default all that tell tasks apart.
    """
    counts, total = examples.counts, len(examples.points)
    points = examples.points.astype(np.float64)
    means = _means(points, counts)
    squares = (points - means[examples.owners]) ** 2
    scale = np.sqrt(np.mean(squares, axis=0))
    noise = 1e-6 * max(scale.max(), np.abs(points).max() / 10)
    scale[scale <= noise] = scale.max(initial=0.0, where=scale > noise) or 1.0
    lengths = squares @ scale**-2.0
    middle = counts @ means / total
    points -= middle
    points /= scale
    wide = points.shape[1] > total
    scatter, axes = np.linalg.eigh(points @ points.T if wide else points.T @ points)
    found = scatter > 1e-12 * scatter.max()
    found[-1] = True
    scatter, axes = np.maximum(scatter[found], _TINY), axes[:, found]
    apart = (means - middle) / scale
    along = _means(axes * np.sqrt(scatter), counts) if wide else apart @ axes
    # What varies within tasks is what varies at all, less what does between them.
    within = (np.diag(scatter) - (along.T * counts) @ along) / total
    between = counts @ along**2 / scatter
    within = _shrunk(examples, within, lengths, scatter, between)
    along -= along.mean(0)
    solved = np.linalg.solve(within, along.T).T
    strength, turn = np.linalg.eigh(solved @ along.T)
    kept = int((strength > 1e-14 * strength.max()).sum())
    kept = max(1, min(kept, len(means) - 1, rank or kept))
    strength, turn = np.maximum(strength[-kept:], _TINY)[::-1], turn[:, -kept:][:, ::-1]
    rows = turn.T @ solved / np.sqrt(strength)[:, None]
    matrix = (rows / np.sqrt(scatter) @ axes.T @ points if wide else rows @ axes.T) / scale
    return Metric(means.mean(0).astype(np.float32), matrix.astype(np.float32))


def _shrunk(
    examples: Examples, within: Doubles, lengths: Doubles, scatter: Doubles, between: Doubles
) -> Doubles:
    """The covariance within tasks, shrunk towards a multiple of the identity.

    The share that O. Ledoit and M. Wolf (2004) give is the best for the covariance, and too little
    for telling tasks apart; so its square root is the least that is tried. Of what is tried, up to
    one, that share is taken which tells the tasks of examples left out best: LDA is, up to
    scale, ridge regression on which task an example is of, and the error of that on new examples is
    estimated by generalised cross-validation (G. Golub, M. Heath and G. Wahba, 1979).

    Args:
        examples: n of K tasks, of width d.
        within: the covariance within tasks along principal directions, float64 [r, r].
        lengths: squared, of the examples seen from their tasks' means, [n].
        scatter: sums of squares along the principal directions, [r].
        between: the shares of them that lie between tasks, [r], 0..1.
    """
    count, width = examples.points.shape
    mean, square = float(np.mean(lengths)) / width, float(np.sum(within**2))
    if mean < _LEAST:  # nothing varies but by rounding
        return np.eye(len(within))
    noise = (float(np.mean(lengths**2)) - square) / count
    spread = square - width * mean**2
    least = 1.0 if spread <= 0 else math.sqrt(min(1.0, max(0.0, noise / spread)))
    shares = np.linspace(max(least, _LEAST), 1.0, _TRIED)
    ridges = count * mean * shares[:, None]
    missed = ridges / ((1 - shares[:, None]) * scatter + ridges)
    beyond = max(0.0, len(examples.tasks) - 1 - float(between.sum()))
    errors = missed**2 @ between + beyond
    freedom = missed.sum(1) + max(0, count - 1 - len(scatter))
    share = float(shares[np.argmin(errors / freedom**2)])
    shrunk: Doubles = (1 - share) * within + share * mean * np.eye(len(within))
    return shrunk


def task_means(examples: Examples) -> Doubles:
    """The mean of each task's points, [K, d]."""
    return _means(examples.points.astype(np.float64), examples.counts)


def _means(rows: Doubles, counts: NDArray[np.int64]) -> Doubles:
    sums: Doubles = np.add.reduceat(rows, np.cumsum(counts) - counts)
    return sums / counts[:, None]


def spread_directions(examples: Examples, metric: Metric) -> Floats:
    """Further rows for L: where examples spread most apart from its own rows, at their scale."""
    points = (examples.points - metric.centre).astype(np.float64)
    scale = np.sqrt(np.mean(points**2, axis=0))
    scale[scale <= 1e-6 * scale.max(initial=0.0)] = scale.max(initial=0.0) or 1.0
    scaled = points / scale
    wide = points.shape[1] > len(points)
    _, _, axes = np.linalg.svd(scaled if wide else scaled.T @ scaled, full_matrices=False)
    size = np.linalg.norm(metric.matrix, axis=1).mean()
    rows = axes / scale
    further: Floats = (rows * (size / np.linalg.norm(rows, axis=1, keepdims=True))).astype("<f4")
    return further
