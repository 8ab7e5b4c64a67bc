"""FlexSwitch as the benchmark runs it: 100 training examples, no labels, matrices in bfloat16."""

from __future__ import annotations

from typing import Final

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from tools.realtasks import Family, Inputs, RealTask
from tvbank import FlexSwitch

_EXAMPLES: Final = 100


def learner(
    family: Family,
    task: RealTask,
    seed: int,
    _scale: float,
    *,
    loss: str,
    lam: float,
    steps: int,
    budget: str | None,
) -> FlexSwitch:
    """FlexSwitch for a task.

    The model's matrices are multiplied in bfloat16 while it learns, and attention is written out,
    as its fused backward pass is slow for short inputs: together a third of the time on a
    processor that has bfloat16. What is stored is scored in float32.

    Args:
        family: of the task.
        task: whose training examples are used.
        seed: of the order of the examples.
        loss: ``"kl"``, ``"mse"`` or ``"cka"``.
        lam: weight of the loss; with a budget, where it starts.
        steps: of the optimiser.
        budget: the size to end at, by the objective of bytes; None for the paper's objective.
    """

    def logits(model: torch.nn.Module, inputs: Inputs) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            features = family.pooled(model, inputs)
        return features.float() @ task.head_weight.T + task.head_bias

    inputs = family.inputs(task.x_train[:_EXAMPLES])
    return FlexSwitch(
        family.model(), inputs, logits, loss=loss, lam=lam, steps=steps, seed=seed, budget=budget
    )
