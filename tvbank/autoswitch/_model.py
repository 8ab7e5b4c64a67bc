"""What users and libraries ask of a model beside calling it: where it is, and what it is."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

import torch

from tvbank.errors import UsageError

#: What the model itself answers: transformers' facts about it. Nothing that changes it.
_FACTS: Final = frozenset(
    {
        "base_model_prefix", "can_generate", "config", "generation_config", "hf_device_map",
        "input_modalities", "main_input_name", "name_or_path", "output_modalities",
    }
)  # fmt: skip


class LikeModel(ABC):
    """Answers as the model does, so that ``transformers.pipeline(task, model=auto)`` takes it."""

    _model: torch.nn.Module

    @abstractmethod
    def __call__(self, *args: Any, **named: Any) -> Any:
        """Run the model."""

    @property
    def device(self) -> torch.device:
        """Where the model's first weights are."""
        return _first(self._model).device

    @property
    def dtype(self) -> torch.dtype:
        """Element type of the model's first weights that are floats."""
        return _first(self._model).dtype

    @property
    def forward(self) -> Callable[..., Any]:
        """This object, with the parameters that the model's forward has."""
        return functools.wraps(self._model.forward)(lambda *args, **named: self(*args, **named))

    def to(self, device: torch.device | str | int) -> LikeModel:
        """Stay where the model is.

        Raises:
            UsageError: that is elsewhere: the bank was attached to the weights where they are.
        """
        wanted, here = torch.device(device), self.device
        if wanted.type != here.type or wanted.index not in (None, here.index):
            raise UsageError(
                f"the model is on {here}: close the AutoSwitch, move the model, and make another"
            )
        return self

    def __getattr__(self, name: str) -> Any:
        if name in _FACTS and "_model" in vars(self):
            return getattr(self._model, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def _first(model: torch.nn.Module) -> torch.Tensor:
    tensors = [*model.parameters(), *model.buffers()]
    floats = (tensor for tensor in tensors if tensor.is_floating_point())
    return next(floats, tensors[0] if tensors else torch.empty(0))
