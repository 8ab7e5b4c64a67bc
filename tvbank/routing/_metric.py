"""The metric of a router: shrinkage LDA, the directions in which tasks differ most; or others.

``FitOptions`` says which metric, between which keys; ``_learned`` has those that are learned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.errors import UsageError
from tvbank.routing._examples import Doubles, Examples, Floats, cluster, thinned

#: Ways to measure how near two features are.
METRICS = ("discriminant", "euclidean", "learned", "paper")

#: The least share of shrinkage, and how many shares are tried from there to one.
_LEAST, _TRIED = 1e-6, 50

#: Examples along whose directions LDA is found, where there are more, and more features.
_MOST = 3000

#: Directions along which examples vary less than this, of the most, are left out.
_RANK = 1e-12

#: Stands in for zero where that would be divided by.
_TINY = 1e-200


@final
@dataclass(frozen=True, eq=False)
class Metric:
    """d(x, μ) = ‖L·(x − c) − L·(μ − c)‖₂ ([F] Eq. 18, centred).

    Attributes:
        centre: c, float32 [d].
        matrix: L, float32 [r, d].
    """

    centre: Floats
    matrix: Floats

    def project(self, points: NDArray[Any]) -> NDArray[Any]:
        """L·(x − c) of every row, [n, d] -> [n, r], in the points' own float32 or float64."""
        moved = points - self.centre.astype(points.dtype)
        projected: NDArray[Any] = np.matmul(moved, self.matrix.T.astype(points.dtype))
        return projected


@final
@dataclass(frozen=True)
class FitOptions:
    """The arguments of ``Router.fit`` but the features; see there.

    Attributes:
        metric: one of ``METRICS``.
        neighbours: C.
        centres: E, centres a task; None to keep the examples.
        rank: r, rows of L; None for as many as there are.
        reject: share of known inputs that may be rejected, or None.
        seed: of every choice at random.
    """

    metric: str = "discriminant"
    neighbours: int = 10
    centres: int | None = None
    rank: int | None = None
    reject: float | None = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise UsageError(f"metric= is one of {', '.join(METRICS)}, got {self.metric!r}")
        if self.metric in ("learned", "paper") and self.centres is None:
            raise UsageError(f"metric={self.metric!r} is one between centres: give centres= too")
        if self.metric == "euclidean" and self.rank is not None:
            raise UsageError("rank= belongs to the metrics discriminant, learned and paper")
        for name, value in (("centres", self.centres), ("rank", self.rank)):
            if value is not None and value < 1:
                raise UsageError(f"{name}= is 1 or more, got {value}")
        if self.neighbours < 1:
            raise UsageError(f"neighbours= is 1 or more, got {self.neighbours}")
        if self.reject is not None and not 0 < self.reject < 1:
            raise UsageError(f"reject= is a share between 0 and 1, or None, got {self.reject}")

    @classmethod
    def of(cls, metric: str | None = None, **options: Any) -> FitOptions:
        """Options of ``Router.fit``.

        Raises:
            UsageError: an option that is not known, or out of its range.
        """
        try:
            return cls(metric or "discriminant", **options)
        except TypeError as error:
            raise UsageError(f"not an option of a router: {error}") from error

    def build(self, examples: Examples) -> tuple[Examples, Metric | None]:
        """The keys that inputs are compared with, and their metric; None for the plain distance."""
        keys = examples
        if self.centres is not None:
            keys = cluster(examples, self.centres, self.seed)
        if self.metric == "euclidean":
            return keys, None
        if self.metric == "discriminant":
            return keys, discriminant(examples, self.rank)
        from tvbank.routing._learned import PAPER_RANK, from_the_paper, refined  # torch

        if self.metric == "paper":
            centre = task_means(examples.points.astype(np.float64), examples.counts).mean(0)
            middle = centre.astype(np.float32)
            seen, centres = (replace(e, points=e.points - middle) for e in (examples, keys))
            rank = self.rank or PAPER_RANK
            matrix = from_the_paper(rank, seen, centres, self.neighbours, self.seed)
            return keys, Metric(middle, matrix)
        start = discriminant(examples)
        further = _further_rows(examples, start)
        matrix = np.concatenate([start.matrix, further])[: self.rank or len(examples.tasks) - 1]
        seen, centres = (replace(e, points=e.points - start.centre) for e in (examples, keys))
        matrix = refined(matrix, seen, centres, self.neighbours, self.seed)
        return keys, replace(start, matrix=matrix)

    def to_json(self) -> dict[str, Any]:
        """As an object of JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FitOptions:
        """What ``to_json`` made.

        Raises:
            UsageError: an unknown member, or a value out of its range.
        """
        try:
            return cls(**value)
        except TypeError as error:
            raise UsageError(f"not a way to fit a router: {dict(value)!r}") from error


def discriminant(examples: Examples, rank: int | None = None) -> Metric:
    """The metric of shrinkage LDA, tasks weighing the same whatever their number of examples.

    L whitens what varies within tasks (features scaled to unit variance, their covariance shrunk
    towards a multiple of the identity, see ``_shrunk``), then keeps the directions in which the
    tasks' means vary, at most K - 1. It is found along the principal directions of the examples, of
    which there are no more than examples or features; of more than 3,000 of both, along those of
    3,000 examples, to which all others are projected, as time grows with the cube of their number.

    Args:
        examples: of two tasks or more.
        rank: directions to keep; by default all that tell tasks apart.
    """
    counts, total = examples.counts, len(examples.points)
    points = examples.points.astype(np.float64)
    means = task_means(points, counts)
    squares = (points - means[examples.owners]) ** 2
    scale = np.sqrt(np.mean(squares, axis=0))
    noise = 1e-6 * max(scale.max(), np.abs(points).max() / 10)
    scale[scale <= noise] = scale.max(initial=0.0, where=scale > noise) or 1.0
    lengths = squares @ scale**-2.0
    del squares
    middle = counts @ means / total
    points -= middle
    points /= scale
    apart = (means - middle) / scale
    spanned = None
    if min(points.shape) > _MOST:
        spanned = _spanned(points[thinned(counts, _MOST)])
        points, apart = points @ spanned, apart @ spanned
    wide = points.shape[1] > total
    scatter, axes = np.linalg.eigh(points @ points.T if wide else points.T @ points)
    kept = scatter > _RANK * scatter.max()
    kept[-1] = True
    scatter, axes = np.maximum(scatter[kept], _TINY), axes[:, kept]
    along = task_means(axes * np.sqrt(scatter), counts) if wide else apart @ axes
    # What varies within tasks is what varies at all, less what does between them.
    within = (np.diag(scatter) - (along.T * counts) @ along) / total
    between = counts @ along**2 / scatter
    within = _shrunk(examples, within, lengths, scatter, between)
    along -= along.mean(0)
    solved = np.linalg.solve(within, along.T).T
    strength, turn = np.linalg.eigh(solved @ along.T)
    count = int((strength > 1e-14 * strength.max()).sum())
    count = max(1, min(count, len(means) - 1, rank or count))
    strength, turn = np.maximum(strength[-count:], _TINY)[::-1], turn[:, -count:][:, ::-1]
    rows = turn.T @ solved / np.sqrt(strength)[:, None]
    matrix = rows / np.sqrt(scatter) @ axes.T @ points if wide else rows @ axes.T
    matrix = (matrix if spanned is None else matrix @ spanned.T) / scale
    return Metric(means.mean(0).astype(np.float32), matrix.astype(np.float32))


def _spanned(points: Doubles) -> Doubles:
    """Orthonormal directions that span some points [m, d], m < d: float64 [d, m] or fewer."""
    scatter, axes = np.linalg.eigh(points @ points.T)
    kept = scatter > _RANK * scatter.max()
    spanned: Doubles = points.T @ (axes[:, kept] / np.sqrt(scatter[kept]))
    return spanned


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


def task_means(rows: Doubles, counts: NDArray[np.int64]) -> Doubles:
    """The mean of each task's rows, [K, d]: rows [m, d] lie task by task, ``counts`` of each."""
    sums: Doubles = np.add.reduceat(rows, np.cumsum(counts) - counts)
    return sums / counts[:, None]


def _further_rows(examples: Examples, metric: Metric) -> Floats:
    """More rows for L, of the size of its own: the directions in which examples spread most."""
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
