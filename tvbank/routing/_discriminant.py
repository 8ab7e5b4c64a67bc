"""Linear discriminant analysis with shrinkage: the directions in which tasks differ most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tvbank.routing._examples import Examples

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

#: Ridges that are tried, in units of the mean variance of a feature.
_RIDGES = 2.0 ** np.arange(-16.0, 8.5, 0.5)

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

    L whitens what varies within tasks (features scaled to unit variance, a ridge added to their
    covariance, see ``_best_ridge``), then keeps the directions in which the tasks' means vary, at
    most K - 1. It is found along the principal directions of the examples, of which there are no
    more than examples or features.

    Args:
        examples: of two tasks or more.
        rank: directions to keep; by default all that tell tasks apart.
    """
    counts, total = examples.counts, len(examples.points)
    points = examples.points.astype(np.float64)
    means = _means(points, counts)
    scale = np.sqrt(np.mean((points - means[examples.owners]) ** 2, axis=0))
    scale[scale <= 1e-6 * scale.max(initial=0.0)] = scale.max(initial=0.0) or 1.0
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
    ridge = _best_ridge(examples, scatter, counts @ along**2 / scatter)
    # What varies within tasks is what varies at all, less what does between them.
    within = np.diag(scatter / total + ridge) - (along.T * counts) @ along / total
    along -= along.mean(0)
    solved = np.linalg.solve(within, along.T).T
    strength, turn = np.linalg.eigh(solved @ along.T)
    kept = int((strength > 1e-14 * strength.max()).sum())
    kept = max(1, min(kept, len(means) - 1, rank or kept))
    strength, turn = np.maximum(strength[-kept:], _TINY)[::-1], turn[:, -kept:][:, ::-1]
    rows = turn.T @ solved / np.sqrt(strength)[:, None]
    matrix = (rows / np.sqrt(scatter) @ axes.T @ points if wide else rows @ axes.T) / scale
    return Metric(means.mean(0).astype(np.float32), matrix.astype(np.float32))


def _best_ridge(examples: Examples, scatter: Doubles, between: Doubles) -> float:
    """The ridge under which ridge regression would best tell the tasks of other examples.

    LDA with a ridge is, up to scale, ridge regression on which task an example is of. How well that
    does on examples left out follows from one decomposition: generalised cross-validation (G.
    Golub, M. Heath and G. Wahba, 1979) takes the ridge with the least
    (sum of squared errors) / (n - 1 - Σ h)², h = s / (s + n · ridge).

    Args:
        examples: n of K tasks.
        scatter: s, sums of squares along the principal directions, float64 [r].
        between: the shares of them that lie between tasks, [r], 0..1.
    """
    count, width = examples.points.shape
    ridges = _RIDGES * scatter.sum() / count / width
    fitted = scatter / (scatter + count * ridges[:, None])
    beyond = max(0.0, len(examples.tasks) - 1 - float(between.sum()))
    errors = (1 - fitted) ** 2 @ between + beyond
    best = np.argmin(errors / (count - 1 - fitted.sum(1)) ** 2)
    return float(ridges[best])


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
