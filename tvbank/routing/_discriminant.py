"""Linear discriminant analysis with shrinkage: the directions in which tasks differ most."""

from __future__ import annotations

import math
from collections.abc import Callable
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
    towards a multiple of the identity, see ``_whitening``), then keeps the directions in
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
    whiten = _whitening(within / scale)
    _, strength, axes = np.linalg.svd(whiten((means - centre) / scale), full_matrices=False)
    kept = int((strength > 1e-7 * strength.max(initial=0.0)).sum())
    kept = max(1, min(kept, len(means) - 1, rank or kept))
    return Metric(centre.astype(np.float32), (whiten(axes[:kept]) / scale).astype(np.float32))


def task_means(examples: Examples) -> Doubles:
    """The mean of each task's points, [K, d]."""
    counts = examples.counts
    starts = np.cumsum(counts) - counts
    sums: Doubles = np.add.reduceat(examples.points.astype(np.float64), starts)
    return sums / counts[:, None]


def _whitening(rows: Doubles) -> Callable[[Doubles], Doubles]:
    """What makes centred rows [n, d] uncorrelated and of unit variance: a symmetric map of rows.

    The covariance is shrunk by the square root of the share that O. Ledoit and M. Wolf (2004) give:
    theirs is the best for the covariance, and too little for telling tasks apart. Directions in
    which no row varies all have the same variance then, so that it takes no more than the smaller
    of n and d.
    """
    count, width = rows.shape
    wide = width > count
    product = (rows @ rows.T if wide else rows.T @ rows) / count
    mean, square = float(np.trace(product)) / width, float(np.sum(product**2))
    noise = (float(np.sum(np.sum(rows**2, axis=1) ** 2)) / count - square) / count
    spread = square - width * mean**2
    share = 1.0 if spread <= 0 else math.sqrt(min(1.0, max(0.0, noise / spread)))
    variances, directions = np.linalg.eigh(product)
    if wide:
        found = variances > 1e-12 * variances.max(initial=0.0)
        variances = variances[found]
        directions = rows.T @ directions[:, found] / np.sqrt(count * variances)
    shrunk = (1 - share) * variances + share * mean
    floor = max(float(shrunk.max(initial=0.0)) * 1e-10, 1e-30)
    elsewhere = 1 / np.sqrt(max(share * mean, floor)) if wide else 0.0
    scales = 1 / np.sqrt(np.maximum(shrunk, floor)) - elsewhere

    def whiten(points: Doubles) -> Doubles:
        whitened: Doubles = elsewhere * points + (points @ directions * scales) @ directions.T
        return whitened

    return whiten


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
