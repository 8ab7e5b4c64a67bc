"""How sure the stages of a cascade have to be, found on examples whose task is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank.errors import UsageError
from tvbank.routing._examples import Examples
from tvbank.routing._stage import ALWAYS, Stage, Verdict
from tvbank.routing.router import Router

#: Parts that examples are cut into, each held out once.
_FOLDS = 5


def judge_held_out(
    routers: Sequence[Router], held_out: Sequence[Mapping[str, Any]]
) -> tuple[list[Stage], list[Verdict], NDArray[np.int64]]:
    """What routers say of examples that none was fitted to.

    Returns:
        The routers, what each says of these examples, and the number of each example's task.

    Raises:
        UsageError: a task without examples, or different numbers of them for each router.
    """
    if len(routers) != len(held_out):
        raise UsageError(f"{len(routers)} routers, but held-out features for {len(held_out)}")
    stages, verdicts, truths = [], [], []
    for router, examples in zip(routers, held_out, strict=True):
        rows, truth = _stacked(router, examples)
        stages.append(Stage(router))
        verdicts.append(stages[-1].judge(rows))
        truths.append(truth)
    if any(len(truth) != len(truths[0]) for truth in truths):
        raise UsageError("held-out examples differ in number between the routers of a cascade")
    return stages, verdicts, truths[0]


def judge_crosswise(
    routers: Sequence[Router],
) -> tuple[list[Stage], list[Verdict], NDArray[np.int64]]:
    """What routers say of the examples that they keep, each asked of one fitted without it.

    Returns:
        As ``judge_held_out``.

    Raises:
        UsageError: routers that keep centres instead of examples, or those of different examples,
            or of a task with one example.
    """
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
    stages, verdicts = [], []
    for router in routers:
        stages.append(Stage(router))
        said = [Stage(_without(router, part)).judge(router.keys[part]) for part in parts]
        order = np.argsort(np.concatenate(parts), kind="stable")
        verdicts.append(
            Verdict(
                np.concatenate([each.weights for each in said])[order],
                np.concatenate([each.top for each in said])[order],
                np.concatenate([each.posterior for each in said])[order],
            )
        )
    return stages, verdicts, owners.astype(np.int64)


def _without(router: Router, part: NDArray[np.int64]) -> Router:
    """The same way of fitting, to all examples but some; it rejects nothing."""
    kept = np.setdiff1d(np.arange(len(router.keys)), part)
    owners, points = router.owners[kept], router.keys[kept]
    examples = Examples(router.tasks, points, owners)
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


def subsets(count: int) -> list[list[int]]:
    """Every non-empty subset of the first numbers, ascending."""
    chosen = range(1, 2**count)
    return [[number for number in range(count) if subset >> number & 1] for subset in chosen]


def _stacked(router: Router, examples: Mapping[str, Any]) -> tuple[Any, NDArray[np.int64]]:
    missing = [name for name in router.tasks if name not in examples or not len(examples[name])]
    if missing:
        raise UsageError(f"no held-out examples of task {missing[0]!r}")
    parts = [np.asarray(examples[name], np.float32) for name in router.tasks]
    truth = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return np.concatenate(parts), truth.astype(np.int64)
