"""``Router``: which task an input belongs to, by the tasks of its nearest neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.errors import UsageError
from tvbank.routing._discriminant import Metric, discriminant
from tvbank.routing._examples import Examples, Floats, checked_rows, gather
from tvbank.routing._rejection import calibrate, typical_distance
from tvbank.routing._search import Indices, nearest
from tvbank.routing.recipe import BEFORE_CLASSIFIER, Recipe, names_of

#: Ways to measure how near two features are.
METRICS = ("discriminant", "euclidean")

#: ``top`` of an input of no known task.
NO_TASK = -1


@final
@dataclass(frozen=True, eq=False)
class Router:
    """Chooses among tasks; made by ``Router.fit``, never changed.

    Attributes:
        tasks: names, in the order of the columns of ``weights``.
        recipe: from where in the model the features come.
        neighbours: C of [F] Eq. 5.
        keys: float32 [m, d], what inputs are compared with: examples or centres of all tasks.
        owners: int32 [m], the number of each key's task, ascending.
        metric: None for the Euclidean distance of the features themselves.
        threshold: the typical distance to neighbours beyond which an input is of no known task;
            infinite where nothing is rejected.
    """

    tasks: tuple[str, ...]
    recipe: Recipe
    neighbours: int
    keys: Floats
    owners: NDArray[np.int32]
    metric: Metric | None = None
    threshold: float = np.inf

    @classmethod
    def fit(
        cls,
        features: Mapping[str, Any],
        *,
        neighbours: int = 10,
        metric: str = "discriminant",
        reject: float | None = 0.02,
        seed: int = 0,
        at: str | Sequence[str] = BEFORE_CLASSIFIER,
        pooling: str = "auto",
    ) -> Router:
        """Make a router of the features of some examples of each task; labels are not needed.

        Args:
            features: task -> [n_k, d], array or tensor; the tasks may differ in n_k.
            neighbours: C, how many neighbours have a say.
            metric: ``"discriminant"``: shrinkage LDA, features centred; ``"euclidean"``: [F] Eq. 5
                to the letter.
            reject: share of inputs of known tasks that may be rejected, to find those of unknown
                ones; None to give every input to some task.
            seed: of every choice at random.
            at: where ``routing.features`` took the features, for the recipe.
            pooling: how it pooled them.

        Returns:
            The router: equal arguments, equal bits.

        Raises:
            UsageError: fewer than two tasks, a task without examples, widths that differ, more
                neighbours than examples, an argument out of its range.
            NonFiniteError: NaN or infinity among the features; names the task.
        """
        examples = gather(features)
        _check(examples, neighbours, metric, reject)
        recipe = Recipe(names_of(at), pooling, examples.points.shape[1])
        made = cls(
            examples.tasks, recipe, neighbours, examples.points, examples.owners,
            discriminant(examples) if metric == "discriminant" else None,
        )  # fmt: skip
        if reject is None:
            return made
        threshold = calibrate(examples, made, reject, seed)
        return cls(made.tasks, recipe, neighbours, made.keys, made.owners, made.metric, threshold)

    @property
    def width(self) -> int:
        """d, features an input."""
        return int(self.keys.shape[1])

    @property
    def rejects(self) -> bool:
        """Whether inputs of no known task are rejected."""
        return bool(np.isfinite(self.threshold))

    def weights(self, features: Any) -> NDArray[np.float64]:
        """The share of each task among an input's neighbours ([F] Eq. 5).

        Args:
            features: [n, d], array or tensor, of ``routing.features`` with this router's recipe.

        Returns:
            float64 [n, K], a column a task; rows sum to 1, or to 0 where the input was rejected:
            then all weight is the base's.

        Raises:
            UsageError: another width than the router's. NonFiniteError: NaN or infinity.
        """
        shares, _, known = self._shares(features)
        return shares * known[:, None]

    def top(self, features: Any) -> NDArray[np.int64]:
        """The number of each input's task, int64 [n]: the largest share; ``-1`` if rejected.

        Of tasks with equal shares it is the one with the nearest neighbour.
        """
        shares, owners, known = self._shares(features)
        rows = np.arange(len(shares))[:, None]
        best = np.argmax(shares[rows, owners], axis=1)  # the first, and neighbours are in order
        return np.where(known, owners[rows[:, 0], best], NO_TASK).astype(np.int64)

    def neighbourhood(self, features: Any) -> tuple[Floats, Indices]:
        """Distances and numbers of the nearest keys, both [n, C], nearest first."""
        rows = checked_rows(features, "routing")
        if rows.shape[1] != self.width:
            raise UsageError(
                f"the router knows features of width {self.width}, got {rows.shape[1]}: take them "
                f"with its recipe, at={list(self.recipe.at)}"
            )
        return nearest(self._project(rows), self._projected, self.neighbours)

    def _shares(
        self, features: Any
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
        """Shares [n, K], the tasks of the neighbours [n, C], and which inputs are known."""
        distances, found = self.neighbourhood(features)
        owners = self.owners[found].astype(np.int64)
        count, tasks = len(owners), len(self.tasks)
        cells = np.arange(count)[:, None] * tasks + owners
        votes = np.bincount(cells.reshape(-1), minlength=count * tasks)
        shares = votes.reshape(count, tasks) / self.neighbours
        return shares, owners, typical_distance(distances) <= self.threshold

    def _project(self, rows: Floats) -> Floats:
        return rows - self._middle if self.metric is None else self.metric.project(rows)

    @cached_property
    def _middle(self) -> Floats:
        """Subtracted for the sake of rounding; distances do not change."""
        middle: Floats = self.keys.mean(0, dtype=np.float64).astype(np.float32)
        return middle

    @cached_property
    def _projected(self) -> Floats:
        return self._project(self.keys)

    def __repr__(self) -> str:
        return (
            f"Router({len(self.tasks)} tasks, {len(self.keys)} keys, at={list(self.recipe.at)}, "
            f"{'rejecting' if self.rejects else 'not rejecting'})"
        )


def _check(examples: Examples, neighbours: int, metric: str, reject: float | None) -> None:
    if len(examples.tasks) < 2:
        raise UsageError(
            f"a router chooses between two tasks or more, got only {examples.tasks[0]!r}: with one "
            "task there is nothing to route"
        )
    if not 1 <= neighbours <= len(examples.points):
        raise UsageError(
            f"neighbours= is 1 to the number of examples, {len(examples.points)}, got {neighbours}"
        )
    if metric not in METRICS:
        raise UsageError(f"metric= is one of {', '.join(METRICS)}, got {metric!r}")
    if reject is not None and not 0 < reject < 1:
        raise UsageError(f"reject= is a share between 0 and 1, or None, got {reject}")
