"""The features that a router is fitted to, checked and laid end to end; k-means centres of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.errors import NonFiniteError, UsageError

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

#: Beyond this k-means and the learned metric, which compute in float32, would overflow.
_LARGEST_SQUARED = 1e12

#: Beyond this a half-precision number is infinite.
_LARGEST_HALF = 65504.0


@final
@dataclass(frozen=True, eq=False)
class Examples:
    """Examples, or centres in their place, of all tasks.

    Attributes:
        tasks: their names.
        points: float32 [m, d], task by task in that order.
        owners: int32 [m], the number of each point's task; ascending.
    """

    tasks: tuple[str, ...]
    points: Floats
    owners: NDArray[np.int32]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Points of each task, [K]."""
        return np.bincount(self.owners, minlength=len(self.tasks))

    def of(self, task: int) -> Floats:
        """The points of the task of that number."""
        start, stop = np.searchsorted(self.owners, [task, task + 1])
        return self.points[start:stop]

    def part(self, rows: NDArray[Any]) -> Examples:
        """Some of the points, by a mask or by ascending numbers."""
        return Examples(self.tasks, self.points[rows], self.owners[rows])


def gather(features: Mapping[str, Any]) -> Examples:
    """Examples of a mapping of tasks to features, rounded to half precision.

    A nearest neighbour needs no more, and a router that was stored must be the one that was fitted;
    so the rounding comes first. Features beyond the range of half precision stay as they are.

    Raises:
        UsageError: no task, a task without examples, widths that differ, something else than
            matrices.
        NonFiniteError: NaN or infinity; names the task.
    """
    if not isinstance(features, Mapping) or not features:
        raise UsageError("a router is fitted to features of tasks: {task: features [n, d]}")
    parts = {str(task): checked_rows(rows, f"task {task!r}") for task, rows in features.items()}
    widths = {task: rows.shape[1] for task, rows in parts.items()}
    if len(set(widths.values())) > 1:
        raise UsageError(f"the features of the tasks differ in width: {widths}")
    for task, rows in parts.items():
        if not len(rows):
            raise UsageError(f"task {task!r} has no examples: a router needs one or more of each")
    return _end_to_end(tuple(parts), list(parts.values()))


def thinned(counts: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Rows of about ``most`` examples, as many of each task, evenly among its own; ascending.

    Args:
        counts: examples of each task, which lie task by task, [K].
        most: how many, but one of each task at least.
    """
    share = max(1, most // len(counts))
    starts = np.cumsum(counts) - counts
    pairs = zip(starts.tolist(), counts.tolist(), strict=True)
    return np.concatenate([start + evenly(count, share) for start, count in pairs])


def evenly(count: int, most: int) -> NDArray[np.int64]:
    """At most so many of the numbers from 0 to ``count`` - 1, as far apart as they can be."""
    chosen = min(count, most)
    return np.arange(chosen) * count // max(chosen, 1)


def cluster(examples: Examples, centres: int, seed: int) -> Examples:
    """At most ``centres`` k-means centres of each task; a task with fewer examples keeps those.

    Raises:
        UsageError: scikit-learn is not installed, or the features are too large.
    """
    try:
        from sklearn.cluster import KMeans
    except ImportError as error:
        raise UsageError(
            "centres= needs scikit-learn: pip install 'tvbank[routing]', or leave centres= out"
        ) from error
    if np.abs(examples.points).max(initial=0.0) > _LARGEST_SQUARED:
        raise UsageError(
            f"features beyond {_LARGEST_SQUARED:.0e} are too large for centres, which are means of "
            "squares: scale them, or leave centres= out"
        )
    parts: list[Floats] = []
    for task in range(len(examples.tasks)):
        points = np.unique(examples.of(task), axis=0)
        if len(points) > centres:
            means = KMeans(centres, n_init=4, random_state=seed).fit(points).cluster_centers_
            points = means.astype(np.float32)
        parts.append(points)
    return _end_to_end(examples.tasks, parts)


def _end_to_end(tasks: tuple[str, ...], parts: list[Floats]) -> Examples:
    owners = np.repeat(np.arange(len(parts), dtype=np.int32), [len(rows) for rows in parts])
    return Examples(tasks, rounded(np.concatenate(parts)), owners)


def rounded(points: Floats) -> Floats:
    """The nearest numbers of half precision, unless that overflows."""
    if np.abs(points).max(initial=0.0) > _LARGEST_HALF:
        return points
    return points.astype(np.float16).astype(np.float32)


def checked_rows(rows: Any, what: str) -> Floats:
    """Features as float32 [n, d], of a tensor too.

    Raises:
        UsageError: they are no matrix of numbers.
        NonFiniteError: NaN or infinity.
    """
    if hasattr(rows, "detach"):  # a tensor, without importing torch
        rows = rows.detach().float().cpu().numpy()
    try:
        with np.errstate(over="ignore"):  # beyond float32 is infinity, which is refused
            array = np.asarray(rows, np.float32)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{what}: features are a matrix of numbers [n, d]: {error}") from error
    if array.ndim != 2 or not array.shape[1]:
        raise UsageError(f"{what}: features are a matrix [n, d], got shape {array.shape}")
    if not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array).all(1))[0])
        raise NonFiniteError(f"{what}: row {bad} of the features holds NaN or infinity")
    return array
