"""What a model is called with: examples along dimension 0, of which some can be taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from tvbank.errors import UsageError

#: A tensor, or what the model takes by name: tensors with examples along dimension 0, and others.
Inputs = torch.Tensor | Mapping[str, Any]

#: Calls the model on a batch: a tensor, or a dict.
Forward = Callable[[torch.nn.Module, Any], Any]


def call_model(model: torch.nn.Module, batch: Any) -> Any:
    """The default ``Forward``: ``model(**batch)`` for a dict, ``model(batch)`` for a tensor."""
    return model(**batch) if isinstance(batch, dict) else model(batch)


@final
class Batch:
    """The inputs of one call.

    Attributes:
        size: number of examples, at least 1.
        whole: all of them as the caller gave them: a tensor, or a dict.
    """

    def __init__(self, inputs: Inputs) -> None:
        """Check some inputs.

        Raises:
            UsageError: not a tensor nor named inputs, no tensors at all, tensors within lists, no
                examples, or tensors that disagree on how many.
        """
        if isinstance(inputs, torch.Tensor):
            tensors = {"": inputs}
            self.whole: Any = inputs
        elif isinstance(inputs, Mapping):
            self.whole = dict(inputs)
            tensors = {k: v for k, v in inputs.items() if isinstance(v, torch.Tensor)}
            _refuse_hidden_tensors(inputs)
        else:
            raise UsageError(
                f"inputs must be a tensor or a dict of tensors, not {type(inputs).__name__}"
            )
        self.size = _size(tensors)

    def take(self, rows: NDArray[np.int64]) -> Any:
        """Some examples, in the order of ``rows``; what is no tensor goes along as it is."""
        if len(rows) == self.size and bool((rows == np.arange(self.size)).all()):
            return dict(self.whole) if isinstance(self.whole, dict) else self.whole
        index = torch.from_numpy(np.ascontiguousarray(rows))

        def taken(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            return value.index_select(0, index.to(value.device))

        if isinstance(self.whole, dict):
            return {name: taken(value) for name, value in self.whole.items()}
        return taken(self.whole)


def without_padding(batch: Any, mask: str) -> Any:
    """Drop the columns at the end of a batch that no example uses.

    Args:
        batch: as ``Batch.take`` returns it.
        mask: the name of the input [n, length] that is 0 at padding.

    Returns:
        A dict in which every tensor [n, length, ...] has lost those columns; at least one stays.

    Raises:
        UsageError: there is no such input, or it is no mask.
    """
    found = batch.get(mask) if isinstance(batch, dict) else None
    if not isinstance(found, torch.Tensor) or found.ndim != 2:
        raise UsageError(f"trim={mask!r} needs an input of that name, a tensor [n, length]")
    length = found.shape[1]
    used = found.ne(0).any(0).nonzero()
    kept = max(1, int(used[-1]) + 1 if len(used) else 0)
    if kept >= length:
        return batch
    return {
        name: value[:, :kept]
        if isinstance(value, torch.Tensor) and value.ndim > 1 and value.shape[1] == length
        else value
        for name, value in batch.items()
    }


def _refuse_hidden_tensors(inputs: Mapping[str, Any]) -> None:
    """Lists are not cut into examples, so none may hold what should be."""
    for name, value in inputs.items():
        parts = value.values() if isinstance(value, Mapping) else value
        if isinstance(value, (list, tuple, Mapping)) and any(
            isinstance(part, (torch.Tensor, list, tuple, Mapping)) for part in parts
        ):
            raise UsageError(
                f"input {name!r} holds tensors or lists within a {type(value).__name__}: give each "
                "tensor a name of its own, and put them together in a forward= hook"
            )


def _size(tensors: Mapping[str, torch.Tensor]) -> int:
    if not tensors:
        raise UsageError("inputs hold no tensor: examples lie along dimension 0 of tensors")
    flat = [name for name, tensor in tensors.items() if tensor.ndim == 0]
    if flat:
        raise UsageError(f"input {flat[0]!r} has no dimensions: examples lie along dimension 0")
    sizes = {name: tensor.shape[0] for name, tensor in tensors.items()}
    if len(set(sizes.values())) > 1:
        shown = ", ".join(f"{name!r} has {size}" for name, size in sizes.items())
        raise UsageError(f"inputs must hold the same number of examples along dimension 0: {shown}")
    size = next(iter(sizes.values()))
    if size == 0:
        raise UsageError("an empty batch: there is nothing to route")
    return size
