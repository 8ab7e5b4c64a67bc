"""``Cascade``: ask a router that costs little first, and a deeper one only where it is unsure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.errors import UsageError
from tvbank.routing._confidence import pooled as pooled
from tvbank.routing._examples import Examples, checked_rows
from tvbank.routing.router import NO_TASK, Router

if TYPE_CHECKING:  # it needs torch
    from tvbank.routing.vectors import VectorRouter

__all__ = ["ALWAYS", "Cascade", "Stage", "Verdict", "choose_thresholds", "pooled"]

#: The threshold of a last stage.
ALWAYS = 0.0

#: The threshold of routers that were not calibrated together.
SURE = 0.9

#: Routers among which the cheapest cascade is sought at most: every subset is tried.
_MOST = 12

#: Parts that kept examples are cut into, each held out once.
_FOLDS = 5


@final
@dataclass(frozen=True, eq=False)
class Stage:
    """One router of a cascade.

    Attributes:
        router: any.
        threshold: inputs of at least this confidence, 0..1, are decided here; of no effect in the
            last stage.
    """

    router: Router | VectorRouter
    threshold: float = SURE

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise UsageError(f"a cascade's threshold is 0 to 1, got {self.threshold}")

    def judge(self, features: Any) -> Verdict:
        """What the router says of features [n, d] of its recipe."""
        weights, top = self.router.weights(features), self.router.top(features)
        likely = self.router.posterior(features)
        likely[top == NO_TASK] = 0
        return Verdict(weights, top, likely)


@final
@dataclass(frozen=True, eq=False)
class Verdict:
    """What one stage says of some inputs.

    Attributes:
        weights: float64 [n, K], as ``Router.weights``.
        top: int64 [n], as ``Router.top``.
        posterior: float64 [n, K], rows sum to one: how likely each task is, all equally frequent;
            zeros where the router rejected the input.
    """

    weights: NDArray[np.float64]
    top: NDArray[np.int64]
    posterior: NDArray[np.float64]

    @property
    def confidence(self) -> NDArray[np.float64]:
        """The posterior of the task on top, float64 [n]; 0 where the input was rejected."""
        rows = np.arange(len(self.top))
        return np.where(self.top == NO_TASK, 0.0, self.posterior[rows, self.top])


@final
class Cascade:
    """Routers in the order in which they are asked, each with how sure it must be to decide.

    A router on the averaged input embeddings costs no forward pass, is right about most inputs, and
    knows about which; the others go on to a deeper layer. The last stage decides all that are left.
    """

    def __init__(self, stages: Sequence[Stage | Router | VectorRouter]) -> None:
        """Ask routers in this order; a router alone stands for ``Stage(router)``.

        Raises:
            UsageError: no stages, or routers of different tasks.
        """
        if not stages:
            raise UsageError("a cascade needs one router at least")
        self.stages = tuple(s if isinstance(s, Stage) else Stage(s) for s in stages)
        first = self.stages[0].router.tasks
        for stage in self.stages[1:]:
            if stage.router.tasks != first:
                raise UsageError(
                    "the routers of a cascade must know the same tasks in the same order: "
                    f"{list(first)} and {list(stage.router.tasks)}"
                )

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names, in the order of the columns of weights."""
        return self.stages[0].router.tasks

    @classmethod
    def calibrate(
        cls,
        routers: Sequence[Router],
        held_out: Sequence[Mapping[str, Any]] | None = None,
        *,
        loss: float = 0.01,
    ) -> Cascade:
        """Choose how sure each router has to be.

        Every stage but the last gets the lowest threshold at which the cascade from there on is at
        most ``loss`` less often right, on the examples given, than the best of the routers alone.

        Args:
            routers: the cheapest first.
            held_out: for each router the features of examples that no router was fitted to, by
                task, [n_k, d]; the same examples in the same order for each. By default the
                examples that the routers keep, by cross-validation.
            loss: share of inputs.

        Raises:
            UsageError: no examples of a task, or not the same ones for each router; or none are
                given, and the routers keep centres.
        """
        verdicts, truth = _judged(routers, held_out, loss)
        right = max(int((verdict.top == truth).sum()) for verdict in verdicts)
        thresholds = choose_thresholds(verdicts, truth, right - loss * len(truth))
        return cls([Stage(*pair) for pair in zip(routers, thresholds, strict=True)])

    @classmethod
    def cheapest(
        cls,
        routers: Sequence[Router],
        costs: Sequence[float],
        held_out: Sequence[Mapping[str, Any]] | None = None,
        *,
        loss: float = 0.01,
    ) -> Cascade:
        """The cheapest of all cascades of some of the routers that is right often enough.

        Right often enough is at most ``loss`` less often than the best of all the routers alone, on
        the examples given; what the cascade costs is measured on them too.

        Args:
            routers: the cheapest first, at most twelve.
            costs: what each router's features cost an input, in any unit.
            held_out: as for ``calibrate``.
            loss: share of inputs.

        Raises:
            UsageError: as ``calibrate``.
        """
        if not 1 <= len(routers) <= _MOST or len(costs) != len(routers):
            raise UsageError(
                f"a cascade is chosen among 1 to {_MOST} routers, each with its cost; got "
                f"{len(routers)} routers, {len(costs)} costs"
            )
        if not all(np.isfinite(cost) and cost >= 0 for cost in costs):
            raise UsageError(f"costs= are numbers of 0 or more, got {list(costs)}")
        verdicts, truth = _judged(routers, held_out, loss)
        right = [int((verdict.top == truth).sum()) for verdict in verdicts]
        needed = max(right) - loss * len(truth)
        best: tuple[float, Cascade] | None = None
        for subset in range(1, 2 ** len(routers)):
            chosen = [number for number in range(len(routers)) if subset >> number & 1]
            if right[chosen[-1]] < needed:
                continue
            mine = [verdicts[number] for number in chosen]
            thresholds = choose_thresholds(mine, truth, needed)
            left, cost = np.ones(len(truth), np.bool_), 0.0
            for number, verdict, threshold in zip(chosen, mine, thresholds, strict=True):
                cost += costs[number] * float(left.mean())
                left = left & (verdict.confidence < threshold)
            if best is None or cost < best[0]:
                pairs = zip(chosen, thresholds, strict=True)
                best = cost, cls([Stage(routers[n], threshold) for n, threshold in pairs])
        assert best is not None  # the best router alone is right often enough
        return best[1]

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{list(s.router.at)} if {s.threshold:.3f} sure" for s in self.stages[:-1]
        )
        last = f"else {list(self.stages[-1].router.at)}"
        return f"Cascade({len(self.tasks)} tasks, {', '.join(filter(None, (shown, last)))})"


def _judged(
    routers: Sequence[Router], held_out: Sequence[Mapping[str, Any]] | None, loss: float
) -> tuple[list[Verdict], NDArray[np.int64]]:
    """What each router says of the same examples, and the number of each example's task."""
    if not 0 <= loss < 1:
        raise UsageError(f"loss= is a share of inputs, 0 or more and below 1, got {loss}")
    Cascade(routers)  # checks that they belong together
    return _judge_crosswise(routers) if held_out is None else _judge_held_out(routers, held_out)


def _judge_held_out(
    routers: Sequence[Router], held_out: Sequence[Mapping[str, Any]]
) -> tuple[list[Verdict], NDArray[np.int64]]:
    """What routers say of examples that none was fitted to."""
    if len(routers) != len(held_out):
        raise UsageError(f"{len(routers)} routers, but held-out features for {len(held_out)}")
    verdicts, truths = [], []
    for router, examples in zip(routers, held_out, strict=True):
        for name in router.tasks:
            if name not in examples or not len(examples[name]):
                raise UsageError(f"no held-out examples of task {name!r}")
        parts = [checked_rows(examples[name], f"task {name!r}") for name in router.tasks]
        verdicts.append(Stage(router).judge(np.concatenate(parts)))
        truths.append(np.repeat(np.arange(len(parts)), [len(part) for part in parts]))
    if any(len(truth) != len(truths[0]) for truth in truths):
        raise UsageError("held-out examples differ in number between the routers of a cascade")
    return verdicts, truths[0].astype(np.int64)


def _judge_crosswise(routers: Sequence[Router]) -> tuple[list[Verdict], NDArray[np.int64]]:
    """What routers say of the examples that they keep, each judged by one fitted without it."""
    owners = routers[0].owners
    for router in routers:
        if router.method.centres is not None or not np.array_equal(router.owners, owners):
            raise UsageError(
                "without held-out features, the routers of a cascade must keep the same examples: "
                "fit each to all of them, without centres="
            )
    ranks = np.arange(len(owners)) - np.searchsorted(owners, owners)
    if np.bincount(owners).min() < 2:
        raise UsageError("without held-out features, a cascade needs two examples of each task")
    parts = [np.flatnonzero(ranks % _FOLDS == fold) for fold in range(_FOLDS)]
    parts = [part for part in parts if len(part)]
    order = np.argsort(np.concatenate(parts), kind="stable")
    verdicts = []
    for router in routers:
        said = [Stage(_without(router, part)).judge(router.keys[part]) for part in parts]
        verdicts.append(
            Verdict(
                np.concatenate([verdict.weights for verdict in said])[order],
                np.concatenate([verdict.top for verdict in said])[order],
                np.concatenate([verdict.posterior for verdict in said])[order],
            )
        )
    return verdicts, owners.astype(np.int64)


def _without(router: Router, part: NDArray[np.int64]) -> Router:
    """A router fitted the same way to all examples but some; it rejects nothing."""
    kept = np.setdiff1d(np.arange(len(router.keys)), part)
    examples = Examples(router.tasks, router.keys, router.owners).part(kept)
    method = replace(router.method, neighbours=min(router.neighbours, len(kept)))
    keys, metric = method.build(examples)
    return replace(
        router, method=method, keys=keys.points, owners=keys.owners, metric=metric, rejection=None
    )


def choose_thresholds(
    verdicts: Sequence[Verdict], truth: NDArray[np.int64], needed: float
) -> list[float]:
    """How sure each stage has to be, from what each says of held-out examples.

    Args:
        verdicts: of each stage, of the same n examples.
        truth: int64 [n], the number of each example's task.
        needed: of how many examples the cascade must be right, from each stage on.

    Returns:
        One threshold a stage, the lowest that suffices, or else one that nothing passes; the last
        is ``ALWAYS``.
    """
    right = [verdict.top == truth for verdict in verdicts]
    thresholds = [ALWAYS]
    rest = right[-1]  # whether the stages after this one decide an example right
    for verdict, mine in zip(verdicts[-2::-1], right[-2::-1], strict=True):
        order = np.argsort(-verdict.confidence, kind="stable")
        confidence = verdict.confidence[order]
        # Right answers if this stage decides the first 0, 1, … n of the examples, the surest first.
        gain = np.concatenate([[0], np.cumsum(mine[order].astype(int) - rest[order].astype(int))])
        total = int(rest.sum()) + gain
        # No threshold lies between equally sure examples.
        possible = np.concatenate([[True], confidence[:-1] != confidence[1:], [True]])
        enough = np.flatnonzero((total >= needed) & possible)
        decided = int(enough[-1]) if len(enough) else 0
        threshold = float(confidence[decided - 1]) if decided else 1.0
        thresholds.append(threshold)
        rest = np.where(verdict.confidence >= threshold, mine, rest)
    return thresholds[::-1]
