"""``Cascade``: ask a router that costs little first, and a deeper one only where it is unsure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.errors import UsageError
from tvbank.routing._calibration import (
    choose_thresholds,
    judge_crosswise,
    judge_held_out,
    subsets,
)
from tvbank.routing._confidence import pooled as pooled
from tvbank.routing._stage import ALWAYS as ALWAYS
from tvbank.routing._stage import Stage as Stage
from tvbank.routing._stage import Verdict as Verdict
from tvbank.routing.router import Router

__all__ = ["ALWAYS", "Cascade", "Stage", "Verdict", "pooled"]

#: Every subset of the routers is tried.
_MOST = 12


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
        cls,
        routers: Sequence[Router],
        held_out: Sequence[Mapping[str, Any]] | None = None,
        *,
        loss: float = 0.01,
    ) -> Cascade:
        """Find how sure each router has to be.

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
        stages, verdicts, truth = _judged(routers, held_out, loss)
        right = max(int((verdict.top == truth).sum()) for verdict in verdicts)
        thresholds = choose_thresholds(verdicts, truth, right - loss * len(truth))
        pairs = zip(stages, thresholds, strict=True)
        return cls([replace(stage, threshold=threshold) for stage, threshold in pairs])

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
        stages, verdicts, truth = _judged(routers, held_out, loss)
        right = [int((verdict.top == truth).sum()) for verdict in verdicts]
        needed = max(right) - loss * len(truth)
        best: tuple[float, Cascade] | None = None
        for chosen in subsets(len(routers)):
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


def _judged(
    routers: Sequence[Router], held_out: Sequence[Mapping[str, Any]] | None, loss: float
) -> tuple[list[Stage], list[Verdict], NDArray[np.int64]]:
    if not 0 <= loss < 1:
        raise UsageError(f"loss= is a share of inputs, 0 or more and below 1, got {loss}")
    Cascade(routers)  # checks that they belong together
    return judge_crosswise(routers) if held_out is None else judge_held_out(routers, held_out)
