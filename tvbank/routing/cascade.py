"""``Cascade``: ask a router that costs little first, and a deeper one only where it is unsure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.errors import UsageError
from tvbank.routing._confidence import Likelihood
from tvbank.routing.router import NO_TASK, Router

#: The threshold of a last stage.
ALWAYS = 0.0

#: Of routers that were not calibrated together: how sure is sure, and what a metric fitted to a
#: hundred examples a task flatters them by.
SURE, FLATTERY = 0.9, 4.0


@final
@dataclass(frozen=True, eq=False)
class Stage:
    """One router of a cascade.

    Attributes:
        router: any.
        threshold: inputs of at least this confidence, 0..1, are decided here; of no effect in the
            last stage.
        temperature: by which the log-posterior is divided, above 0: how far to trust it.
    """

    router: Router
    threshold: float = SURE
    temperature: float = FLATTERY

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise UsageError(f"a cascade's threshold is 0 to 1, got {self.threshold}")
        if not 0 < self.temperature < np.inf:
            raise UsageError(f"a cascade's temperature is above 0, got {self.temperature}")

    def judge(self, features: Any) -> Verdict:
        """Ask about features [n, d] of the router's recipe."""
        weights, top = self.router.weights(features), self.router.top(features)
        likely = self.likelihood.posterior(features, self.temperature)
        likely[top == NO_TASK] = 0
        return Verdict(weights, top, likely)

    @cached_property
    def likelihood(self) -> Likelihood:
        """Of the router's tasks."""
        return Likelihood(self.router)


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
    """Routers in the order in which they are asked, each with what it takes to decide.

    A router on the averaged input embeddings costs no forward pass, and is right about most inputs
    and knows about which; the others go on to a deeper layer. The last stage decides whatever is
    left.
    """

    def __init__(self, stages: Sequence[Stage | Router]) -> None:
        """Put routers in a row; a router alone stands for ``Stage(router)``.

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
        cls, routers: Sequence[Router], held_out: Sequence[Mapping[str, Any]], *, loss: float = 0.01
    ) -> Cascade:
        """Find how sure each router has to be.

        Every stage but the last gets the lowest threshold at which the cascade from there on is at
        most ``loss`` less often right, on the examples given, than the best of the routers alone.

        Args:
            routers: the cheapest first.
            held_out: for each router the features of examples that no router was fitted to, by
                task, [n_k, d]; the same examples in the same order for each.
            loss: share of inputs.

        Raises:
            UsageError: a task without examples, or different numbers of them for each router.
        """
        if not 0 <= loss < 1:
            raise UsageError(f"loss= is a share of inputs, 0 or more and below 1, got {loss}")
        stages, verdicts, truth = _judged(routers, held_out)
        right = max(int((verdict.top == truth).sum()) for verdict in verdicts)
        thresholds = choose_thresholds(verdicts, truth, right - loss * len(truth))
        pairs = zip(stages, thresholds, strict=True)
        return cls([replace(stage, threshold=threshold) for stage, threshold in pairs])

    @classmethod
    def cheapest(
        cls,
        routers: Sequence[Router],
        held_out: Sequence[Mapping[str, Any]],
        costs: Sequence[float],
        *,
        loss: float = 0.01,
    ) -> Cascade:
        """The cheapest of all cascades of some of the routers that is right often enough.

        Right often enough is at most ``loss`` less often than the best of all the routers alone, on
        the examples given; what the cascade costs is measured on them too.

        Args:
            routers: the cheapest first, at most twelve.
            held_out: as for ``calibrate``.
            costs: what each router's features cost an input, in any unit.
            loss: share of inputs.

        Raises:
            UsageError: as ``calibrate``.
        """
        if not 0 <= loss < 1:
            raise UsageError(f"loss= is a share of inputs, 0 or more and below 1, got {loss}")
        if not 1 <= len(routers) <= _MOST or len(costs) != len(routers):
            raise UsageError(
                f"a cascade is chosen among 1 to {_MOST} routers, each with its cost; got "
                f"{len(routers)} routers, {len(costs)} costs"
            )
        stages, verdicts, truth = _judged(routers, held_out)
        right = [int((verdict.top == truth).sum()) for verdict in verdicts]
        needed = max(right) - loss * len(truth)
        best: tuple[float, Cascade] | None = None
        for chosen in _rising(len(routers)):
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
                best = cost, cls([replace(stages[n], threshold=t) for n, t in pairs])
        assert best is not None  # the best router alone is right often enough
        return best[1]

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{list(s.router.recipe.at)} if {s.threshold:.3f} sure" for s in self.stages[:-1]
        )
        last = f"else {list(self.stages[-1].router.recipe.at)}"
        return f"Cascade({len(self.tasks)} tasks, {', '.join(filter(None, (shown, last)))})"


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
    rest = right[-1]  # whether what is left to the stages behind is decided right
    for verdict, mine in zip(verdicts[-2::-1], right[-2::-1], strict=True):
        order = np.argsort(-verdict.confidence, kind="stable")
        confidence = verdict.confidence[order]
        # Right answers if this stage decides the first 0, 1, … n of the examples, the surest first.
        gain = np.concatenate([[0], np.cumsum(mine[order].astype(int) - rest[order].astype(int))])
        total = int(rest.sum()) + gain
        # A threshold cannot tell equally sure examples apart.
        whole = np.concatenate([[True], confidence[:-1] != confidence[1:], [True]])
        enough = np.flatnonzero((total >= needed) & whole)
        decided = int(enough[-1]) if len(enough) else 0
        threshold = float(confidence[decided - 1]) if decided else 1.0
        thresholds.append(threshold)
        rest = np.where(verdict.confidence >= threshold, mine, rest)
    return thresholds[::-1]


def pooled(likely: NDArray[np.float64], prior: float = 0.5) -> NDArray[np.float64]:
    """Posteriors of a batch, once it has told how frequent each task is in it.

    The mixture of tasks that makes the batch most likely, found by expectation maximisation (as M.
    Saerens, P. Latinne and C. Decaestecker, 2002, for classifiers met with other frequencies),
    stands in for equal frequencies: in a batch that is evidently of one task, an input that could
    be of either of two tasks is of this one.

    Args:
        likely: float64 [n, K], posteriors; rows of zeros have no say and stay as they are.
        prior: examples of each task that are taken to have been seen, 0 or more: by how much a
            small batch is kept from ruling a task out.

    Returns:
        float64 [n, K]
    """
    known = likely[likely.sum(1) > 0]
    if not len(known):
        return np.zeros_like(likely)
    count = likely.shape[1]
    share = np.full(count, 1 / count)
    for _ in range(_ROUNDS):
        before, weighed = share, known * share
        share = (weighed / weighed.sum(1, keepdims=True)).sum(0) + prior
        share /= share.sum()
        if np.abs(share - before).max() < _SETTLED:
            break
    weighed = likely * share
    total = weighed.sum(1, keepdims=True)
    refined: NDArray[np.float64] = np.zeros_like(weighed)
    np.divide(weighed, total, out=refined, where=total > 0)
    return refined


_ROUNDS, _SETTLED = 100, 1e-6

#: Every subset of the routers is tried.
_MOST = 12


def _rising(count: int) -> list[list[int]]:
    """Every non-empty subset of the first numbers, ascending."""
    subsets = range(1, 2**count)
    return [[number for number in range(count) if subset >> number & 1] for subset in subsets]


def _judged(
    routers: Sequence[Router], held_out: Sequence[Mapping[str, Any]]
) -> tuple[list[Stage], list[Verdict], NDArray[np.int64]]:
    """Routers with the temperatures that suit held-out examples, what they say, and the truth."""
    if len(routers) != len(held_out):
        raise UsageError(f"{len(routers)} routers, but held-out features for {len(held_out)}")
    stages, verdicts, truths = [], [], []
    for router, examples in zip(routers, held_out, strict=True):
        rows, truth = _stacked(router, examples)
        stages.append(Stage(router, temperature=Likelihood(router).best_temperature(rows, truth)))
        verdicts.append(stages[-1].judge(rows))
        truths.append(truth)
    if any(len(truth) != len(truths[0]) for truth in truths):
        raise UsageError("held-out examples differ in number between the routers of a cascade")
    return stages, verdicts, truths[0]


def _stacked(router: Router, examples: Mapping[str, Any]) -> tuple[Any, NDArray[np.int64]]:
    missing = [name for name in router.tasks if name not in examples or not len(examples[name])]
    if missing:
        raise UsageError(f"no held-out examples of task {missing[0]!r}")
    parts = [np.asarray(examples[name], np.float32) for name in router.tasks]
    truth = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return np.concatenate(parts), truth.astype(np.int64)
