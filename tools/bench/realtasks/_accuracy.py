"""Features and scores under a task's fixed head."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from tools.bench.realtasks._family import Family, RealTask, moved

_BATCH = 100


@torch.inference_mode()
def pooled_features(
    family: Family, model: torch.nn.Module, x: NDArray[Any], batch: int = _BATCH
) -> torch.Tensor:
    """Features before the head, float32 [n, width], in main memory; similar lengths share a batch.

    Args:
        family: how to run the model.
        model: an encoder of the family, on any device.
        x: rows as in ``RealTask.x_test``.
        batch: how many rows to run at a time.
    """
    order = np.argsort((x != 0).reshape(len(x), -1).sum(1), kind="stable")
    device = next(model.parameters()).device
    parts = [
        family.pooled(model, moved(family.inputs(x[order[i : i + batch]]), device)).cpu()
        for i in range(0, len(x), batch)
    ]
    features = torch.empty(len(x), *parts[0].shape[1:])
    features[torch.from_numpy(order)] = torch.cat(parts).float()
    return features


def score(task: RealTask, features: torch.Tensor, y: NDArray[Any]) -> float:
    """Share of features [n, width] that the task's head gives their label in y [n], 0..1."""
    logits = features @ task.head_weight.T + task.head_bias
    return float((logits.argmax(1).numpy() == y).mean())


def accuracy(
    family: Family,
    model: torch.nn.Module,
    task: RealTask,
    split: Literal["train", "test"] = "test",
    limit: int | None = None,
) -> float:
    """Share of a task's examples that the model and the task's head label right, 0..1.

    Args:
        family: how to run the model.
        model: an encoder of the family.
        task: whose data and head.
        split: ``"test"`` or ``"train"``.
        limit: how many examples, the first ones; by default all.
    """
    x, y = (task.x_test, task.y_test) if split == "test" else (task.x_train, task.y_train)
    return score(task, pooled_features(family, model, x[:limit]), y[:limit])
