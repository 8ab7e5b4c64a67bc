"""FlexSwitch as the benchmark runs it: 100 training examples, no labels, matrices in bfloat16."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, final

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from tools.bench.realtasks import Family, Inputs, RealTask
from tvbank import FlexSwitch

_EXAMPLES: Final = 100


@final
@dataclass(frozen=True)
class Learning:
    """What is asked of FlexSwitch.

    Attributes:
        steps: of each run.
        losses: names of those to learn by.
        device: where models run: ``"cpu"`` or ``"cuda"``.
    """

    steps: int
    losses: Sequence[str]
    device: str


def learner(
    family: Family,
    task: RealTask,
    seed: int,
    _scale: float,
    *,
    loss: str,
    lam: float,
    learning: Learning,
    objective: Literal["paper", "bytes"] = "paper",
    budget: str | None = None,
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
        lam: weight of the loss; without meaning under a budget.
        learning: what holds for all runs.
        objective: what is charged for.
        budget: the size to end at, by the objective of bytes.
    """

    weight, bias = task.head_weight.to(learning.device), task.head_bias.to(learning.device)

    def logits(model: torch.nn.Module, inputs: Inputs) -> torch.Tensor:
        with torch.autocast(learning.device, torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            features = family.pooled(model, inputs)
        return features.float() @ weight.T + bias

    inputs = family.inputs(task.x_train[:_EXAMPLES])
    model = family.model().to(learning.device)
    return FlexSwitch(
        model, inputs, logits, loss=loss, lam=lam, steps=learning.steps, seed=seed,
        objective=objective, budget=budget,
    )  # fmt: skip
