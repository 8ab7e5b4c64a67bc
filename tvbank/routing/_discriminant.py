"""Linear discriminant analysis with shrinkage: the directions in which tasks differ most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tvbank.routing._examples import Examples

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


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

    L whitens what varies within tasks (features scaled to unit variance, the covariance shrunk
    towards a multiple of the identity by Ledoit and Wolf's formula), then keeps the directions in
    which the tasks' means vary, at most K - 1.

    Args:
        examples: of two tasks or more.
        rank: directions to keep; by default all that tell tasks apart.
    """
    points = examples.points.astype(np.float64)
    means = task_means(examples)
    centre = means.mean(0)
    within = points - means[examples.owners]
    scale = np.sqrt(np.mean(within**2, axis=0))
    scale[scale <= 1e-6 * scale.max(initial=0.0)] = scale.max(initial=0.0) or 1.0
    variances, directions = np.linalg.eigh(_shrunk(within / scale))
    floor = max(float(variances.max(initial=0.0)) * 1e-10, 1e-30)
    whitening = directions / np.sqrt(np.maximum(variances, floor)) / scale[:, None]
    _, strength, axes = np.linalg.svd((means - centre) @ whitening, full_matrices=False)
    kept = int((strength > 1e-7 * strength.max(initial=0.0)).sum())
    kept = max(1, min(kept, len(means) - 1, rank or kept))
    return Metric(centre.astype(np.float32), (axes[:kept] @ whitening.T).astype(np.float32))


def task_means(examples: Examples) -> Doubles:
    """The mean of each task's points, [K, d]."""
    counts = examples.counts
    starts = np.cumsum(counts) - counts
    sums: Doubles = np.add.reduceat(examples.points.astype(np.float64), starts)
    return sums / counts[:, None]


def _shrunk(rows: Doubles) -> Doubles:
    """Covariance of centred rows, shrunk as O. Ledoit and M. Wolf (2004) have it."""
    count, width = rows.shape
    covariance = rows.T @ rows / count
    mean = np.trace(covariance) / width
    spread = float(np.sum(covariance**2)) - width * mean**2
    noise = (float(np.sum(np.sum(rows**2, axis=1) ** 2)) / count - float(np.sum(covariance**2))) / (
        count
    )
    share = 1.0 if spread <= 0 else min(1.0, max(0.0, noise / spread))
    shrunk: Doubles = (1 - share) * covariance + share * mean * np.eye(width)
    return shrunk


def spread_directions(examples: Examples, metric: Metric) -> Floats:
    """Further rows for L: where examples spread most apart from its own rows, at their scale."""
    points = (examples.points - metric.centre).astype(np.float64)
    scale = np.sqrt(np.mean(points**2, axis=0))
    scale[scale <= 1e-6 * scale.max(initial=0.0)] = scale.max(initial=0.0) or 1.0
    _, _, axes = np.linalg.svd((points / scale).T @ (points / scale))
    size = np.linalg.norm(metric.matrix, axis=1).mean()
    rows = axes / scale
    further: Floats = (rows * (size / np.linalg.norm(rows, axis=1, keepdims=True))).astype("<f4")
    return further
