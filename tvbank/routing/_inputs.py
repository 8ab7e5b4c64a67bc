"""What a model is given: a tensor or a dict of tensors, examples along dimension 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from tvbank.errors import UsageError

#: Examples along dimension 0.
Inputs = torch.Tensor | Mapping[str, torch.Tensor]

#: Called with a model and a batch of inputs.
Forward = Callable[[Any, Any], Any]

MASK = "attention_mask"


def run_model(model: Any, batch: Any) -> Any:
    """The default ``forward``: ``model(batch)``, or ``model(**batch)`` for a dict."""
    return model(**batch) if isinstance(batch, Mapping) else model(batch)


def checked_inputs(inputs: Any) -> Inputs:
    """Tensors, of arrays too, with one size along dimension 0.

    Raises:
        UsageError: says what is wrong.
    """
    if not isinstance(inputs, Mapping):
        return _tensor(inputs, "the inputs")
    if not inputs:
        raise UsageError("the inputs are an empty dict: give at least one tensor")
    tensors = {str(name): _tensor(each, f"input {name!r}") for name, each in inputs.items()}
    sizes = {name: len(each) for name, each in tensors.items()}
    if len(set(sizes.values())) > 1:
        raise UsageError(f"the inputs differ in their number of examples: {sizes}")
    return tensors


def _tensor(value: Any, what: str) -> torch.Tensor:
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if not isinstance(value, torch.Tensor) or not value.ndim:
        raise UsageError(
            f"{what}: expected a tensor with examples along dimension 0, got {type(value).__name__}"
        )
    return value


def count(inputs: Inputs) -> int:
    """Number of examples."""
    first = inputs if isinstance(inputs, torch.Tensor) else next(iter(inputs.values()))
    return len(first)


def take(inputs: Inputs, rows: Any) -> Inputs:
    """The examples of a slice or of an index."""
    if isinstance(inputs, torch.Tensor):
        return inputs[rows]
    return {name: tensor[rows] for name, tensor in inputs.items()}


def batches(inputs: Inputs, size: int, device: torch.device | None) -> Iterator[tuple[slice, Any]]:
    """Slices of the examples, and the examples there on a device."""
    for start in range(0, count(inputs), size):
        rows = slice(start, start + size)
        batch = take(inputs, rows)
        if device is not None:
            if isinstance(batch, torch.Tensor):
                batch = batch.to(device)
            else:
                batch = {name: tensor.to(device) for name, tensor in batch.items()}
        yield rows, batch
