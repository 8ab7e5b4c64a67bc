"""Time of a routed batch against one forward pass of the base on the same batch."""

from __future__ import annotations

import time
from statistics import median

import numpy as np
import torch

from tools.bench.multitask._trial import Trial
from tvbank import AutoSwitch

_BATCH = 32
_MIXED = 4  # tasks


def passes(trial: Trial, auto: AutoSwitch, rounds: int) -> dict[str, float]:
    """Medians of ratios: batches of 32 of one task, and batches that mix four.

    Args:
        trial: where the batches come from.
        auto: a routed model.
        rounds: batches of each kind, each timed both ways in turn; 0 for none.
    """
    if not rounds:
        return {}
    plain = trial.family.model()
    chance = np.random.default_rng(0)
    names = list(trial.tests)
    ratios: dict[str, list[float]] = {"one task": [], "four tasks": []}
    for kind, count in (("one task", 1), ("four tasks", min(_MIXED, len(names)))):
        for number in range(rounds + 1):
            chosen = chance.choice(names, count, replace=False)
            if count == 1:  # a stream comes in stretches
                chosen = [names[number * len(names) // (rounds + 1)]]
            x = np.concatenate([trial.tests[name].x[: _BATCH // count] for name in chosen])
            inputs = trial.family.inputs(chance.permutation(x))
            theirs = _seconds(lambda inputs=inputs: trial.family.pooled(plain, inputs))
            ours = _seconds(lambda inputs=inputs: auto(inputs))
            if number:  # the first warms up
                ratios[kind].append(ours / theirs)
    return {kind: median(some) for kind, some in ratios.items()}


def _seconds(job: object) -> float:
    start = time.perf_counter()
    with torch.inference_mode():
        job()  # type: ignore[operator]
    return time.perf_counter() - start
