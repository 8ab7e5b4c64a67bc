"""What a folder of real fine-tunes holds, and scores under a task's fixed head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

#: What a model takes: a tensor, or tensors by name; examples along dimension 0.
Inputs = torch.Tensor | dict[str, torch.Tensor]


def moved(inputs: Inputs, device: torch.device) -> Inputs:
    """The same inputs where a model is."""
    if isinstance(inputs, dict):
        return {name: each.to(device) for name, each in inputs.items()}
    return inputs.to(device)


@final
@dataclass(frozen=True)
class RealTask:
    """A fine-tune, its data and its fixed head.

    Attributes:
        name: of the task.
        tuned: the fine-tune's full weights, a safetensors file; absent while it is being trained.
        x_train: token ids int32 [n, length], or images uint8 [n, 28, 28].
        y_train: labels int64 [n].
        x_test: as ``x_train``; no example is in both.
        y_test: labels int64 [m].
        head_weight: float32 [classes, width].
        head_bias: float32 [classes].
    """

    name: str
    tuned: Path
    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_test: NDArray[Any]
    y_test: NDArray[Any]
    head_weight: torch.Tensor
    head_bias: torch.Tensor

    @property
    def classes(self) -> int:
        """Number of answers."""
        return len(self.head_bias)


@dataclass(frozen=True)
class Family(ABC):
    """One base and its fine-tunes.

    Attributes:
        base: the base's weights, a safetensors file.
        tasks: the fine-tunes by name.
    """

    name: ClassVar[str]
    base: Path
    tasks: dict[str, RealTask]

    def model(self) -> torch.nn.Module:
        """The encoder with the base's weights, in evaluation mode."""
        model = self.architecture()
        model.load_state_dict(load_file(self.base))
        return model.eval()

    @staticmethod
    @abstractmethod
    def architecture() -> torch.nn.Module:
        """The encoder with weights of no meaning."""

    @staticmethod
    @abstractmethod
    def inputs(x: NDArray[Any]) -> Inputs:
        """What the encoder takes, from rows of ``x_train`` or ``x_test``."""

    @staticmethod
    @abstractmethod
    def pooled(model: torch.nn.Module, inputs: Inputs) -> torch.Tensor:
        """Run the encoder: features before the head, [n, width]."""


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
