"""``Router``: which task an input belongs to, by the tasks of its nearest neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank._shown import html_table
from tvbank.errors import NonFiniteError, TaskExistsError, TaskNotFoundError, UsageError
from tvbank.routing._confidence import posterior
from tvbank.routing._examples import Examples, Floats, checked_rows, cluster, gather
from tvbank.routing._held_out import Rejection as Rejection
from tvbank.routing._held_out import calibrate, hold_out, spread_of
from tvbank.routing._metric import FitOptions as FitOptions
from tvbank.routing._metric import Metric as Metric
from tvbank.routing._neighbours import Neighbourhood, Neighbours
from tvbank.routing.recipe import BEFORE_CLASSIFIER, Recipe, names_of

#: ``top`` of an input of no known task.
NO_TASK = -1


@final
@dataclass(frozen=True, eq=False)
class Router:
    """Chooses among tasks; made by ``Router.fit``, never changed.

    Attributes:
        tasks: names, in the order of the columns of ``weights``.
        recipe: from where in the model the features come.
        method: how the router was fitted.
        keys: float32 [m, d], what inputs are compared with: examples or centres of all tasks.
        owners: int32 [m], the number of each key's task, ascending.
        metric: None for the Euclidean distance of the features themselves.
        spread: how far inputs lie from the mean of their task's keys, the variance a dimension of
            the metric under which held-out examples are most likely of their tasks.
        rejection: when an input is of no known task; None if it always is of one.
    """

    tasks: tuple[str, ...]
    recipe: Recipe
    method: FitOptions
    keys: Floats
    owners: NDArray[np.int32]
    spread: float
    metric: Metric | None = None
    rejection: Rejection | None = None

    @classmethod
    def fit(
        cls,
        features: Mapping[str, Any],
        *,
        neighbours: int = 10,
        centres: int | None = None,
        rank: int | None = None,
        metric: str | None = None,
        reject: float | None = 0.02,
        seed: int = 0,
        at: str | Sequence[str] = BEFORE_CLASSIFIER,
        pooling: str = "auto",
    ) -> Router:
        """Make a router of the features of some examples of each task; labels are not needed.

        Args:
            features: task -> [n_k, d], array or tensor; the tasks may differ in n_k.
            neighbours: C, how many neighbours count.
            centres: E, k-means centres a task to keep in place of the examples (scikit-learn);
                as good, and a task with a hundred examples takes a fifth of the bytes.
            rank: rows of L.
            metric: ``"discriminant"``: shrinkage LDA, features centred, the default;
                ``"euclidean"``: [F] Eq. 5 to the letter; ``"learned"``: LDA refined by [F] Eq. 19;
                ``"paper"``: [F] Eq. 19 to the letter, 32 rows unless ``rank`` says otherwise. The
                last two are between ``centres`` (20 in [F]).
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
        method = FitOptions.of(
            metric, neighbours=neighbours, centres=centres, rank=rank, reject=reject, seed=seed
        )
        examples = gather(features)
        return cls._made(examples, method, Recipe(names_of(at), pooling, examples.points.shape[1]))

    @classmethod
    def _made(cls, examples: Examples, method: FitOptions, recipe: Recipe) -> Router:
        if len(examples.tasks) < 2:
            raise UsageError(
                f"a router chooses between two tasks or more, got only {examples.tasks[0]!r}: with "
                "one task there is nothing to route"
            )
        with np.errstate(over="ignore"):  # found out below
            keys, metric = method.build(examples)
        if metric is not None and not np.isfinite(metric.matrix).all():
            raise NonFiniteError(
                "the features differ by so little that no metric of float32 tells them apart: "
                "scale them, or use metric='euclidean'"
            )
        if method.neighbours > len(keys.points):
            raise UsageError(
                f"neighbours= is at most the number of examples or centres, {len(keys.points)}, "
                f"got {method.neighbours}"
            )
        held = hold_out(examples, method)
        spread = spread_of(held, Neighbourhood(keys, metric).variance)
        rejection = None
        if held is not None and method.reject is not None:
            rejection = calibrate(held, method.reject)
        return cls(keys.tasks, recipe, method, keys.points, keys.owners, spread, metric, rejection)

    def with_task(self, task: str, features: Any) -> Router:
        """A router that knows one task more, from examples [n, d] of that task alone.

        Where the router keeps examples, it is the router that ``fit`` would make of all tasks: the
        metric, the spread and the thresholds are made anew from the examples it has. Where it
        keeps centres, these stay, and only centres are added: fit anew for a metric that separates
        the new task as well as it can.

        Raises:
            TaskExistsError: the router knows that task. UsageError, NonFiniteError: the features.
        """
        if task in self.tasks:
            raise TaskExistsError(f"the router knows task {task!r} already: leave it out first")
        rows = checked_rows(features, f"task {task!r}")
        self._check_width(rows)
        examples = gather({**self._by_task(), task: rows})
        if self.method.centres is None:
            return Router._made(examples, self.method, self.recipe)
        added = cluster(gather({task: rows}), self.method.centres, self.method.seed)
        return self._keeping(gather({**self._by_task(), task: added.points}))

    def without_task(self, task: str) -> Router:
        """A router that knows one task less, for banks from which it was removed.

        Raises:
            TaskNotFoundError: the router does not know it. UsageError: only one would be left.
        """
        if task not in self.tasks:
            known = ", ".join(map(repr, self.tasks))
            raise TaskNotFoundError(f"the router knows no task {task!r}; it knows {known}")
        rest = self._by_task()
        del rest[task]
        examples = gather(rest)
        if self.method.centres is None or len(rest) < 2:
            return Router._made(examples, self.method, self.recipe)
        return self._keeping(examples)

    def _keeping(self, keys: Examples) -> Router:
        return replace(self, tasks=keys.tasks, keys=keys.points, owners=keys.owners)

    def _by_task(self) -> dict[str, Any]:
        return {task: self._kept.of(number) for number, task in enumerate(self.tasks)}

    @property
    def at(self) -> tuple[str, ...]:
        """From which modules the features come, see ``Recipe``."""
        return self.recipe.at

    @property
    def width(self) -> int:
        """d, features an input."""
        return int(self.keys.shape[1])

    @property
    def neighbours(self) -> int:
        """C of [F] Eq. 5."""
        return self.method.neighbours

    @property
    def rejects(self) -> bool:
        """Whether inputs of no known task are rejected."""
        return self.rejection is not None

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
        near = self._look(features)
        return near.shares * self._known(near)[:, None]

    def top(self, features: Any) -> NDArray[np.int64]:
        """The number of each input's task, int64 [n]: the largest share; ``-1`` if rejected.

        Of tasks with equal shares it is the one with the nearest neighbour.
        """
        near = self._look(features)
        return np.where(self._known(near), near.top, NO_TASK).astype(np.int64)

    def posterior(self, features: Any) -> NDArray[np.float64]:
        """How likely each task is, all of them equally frequent: ``exp(-|x - m|² / (2 spread))``.

        Finer than ``weights``, which take only a few different values; m is the mean of a task's
        keys. Arguments and errors as there; nothing is rejected.

        Returns:
            float64 [n, K], a column a task; rows sum to 1.
        """
        return posterior(self._around.squares(self._checked(features)), self.spread)

    def _look(self, features: Any) -> Neighbours:
        return self._around.of(self._checked(features), self.neighbours)

    def _checked(self, features: Any) -> Floats:
        rows = checked_rows(features, "routing")
        self._check_width(rows)
        return rows

    def _known(self, near: Neighbours) -> NDArray[np.bool_]:
        if self.rejection is None:
            return np.ones(len(near.top), np.bool_)
        likely = near.evidence >= self.rejection.evidence
        return likely & (near.distance <= self.rejection.distance)

    def _check_width(self, rows: Floats) -> None:
        if rows.shape[1] != self.width:
            raise UsageError(
                f"the router knows features of width {self.width}, got {rows.shape[1]}: take them "
                f"with its recipe, at={list(self.recipe.at)}"
            )

    @cached_property
    def _around(self) -> Neighbourhood:
        return Neighbourhood(self._kept, self.metric)

    @property
    def _kept(self) -> Examples:
        return Examples(self.tasks, self.keys, self.owners)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        facts = {
            "features at": ", ".join(name or "(before the classifier)" for name in self.recipe.at),
            "width": self.width,
            "neighbours": self.neighbours,
            "inputs of no task": "rejected" if self.rejects else "not rejected",
        }
        keys = np.bincount(self.owners, minlength=len(self.tasks)).tolist()
        return html_table("Router", facts, ("task", "keys"), zip(self.tasks, keys, strict=True))

    def __repr__(self) -> str:
        return (
            f"Router({len(self.tasks)} tasks, {len(self.keys)} keys, at={list(self.recipe.at)}, "
            f"{'rejecting' if self.rejects else 'not rejecting'})"
        )
