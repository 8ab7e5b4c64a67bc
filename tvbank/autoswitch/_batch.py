"""Batches: inputs, of which some examples can be taken, and outputs, put back in order."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from tvbank.errors import UsageError

#: A tensor, or what the model takes by name: tensors with examples along dimension 0, and others.
Inputs = torch.Tensor | Mapping[str, Any]

#: Calls the model on a batch: a tensor, or a dict.
Forward = Callable[[torch.nn.Module, Any], Any]

#: Indices of a group's examples in the batch, and what the model returned for them.
Part = tuple[NDArray[np.int64], Any]

#: What transformers calls what a model remembers of the tokens before.
_CACHE = "past_key_values"

_HOOK = (
    "give a forward= hook that returns only tensors with examples along dimension 0, such as "
    "lambda model, batch: model(**batch).logits"
)


def call_model(model: torch.nn.Module, batch: Any) -> Any:
    """The default ``Forward``: ``model(**batch)`` for a dict, ``model(batch)`` for a tensor."""
    return model(**batch) if isinstance(batch, dict) else model(batch)


def call_without_cache(model: torch.nn.Module, batch: Any) -> Any:
    """The same of a model that returns a cache unless it is told otherwise: none unless asked."""
    if isinstance(batch, dict):
        return model(**{"use_cache": False, **batch})
    return model(batch, use_cache=False)


@final
class Batch:
    """The inputs of one call.

    Attributes:
        size: number of examples, at least 1.
        inputs: all of them as the caller gave them: a tensor, or a dict.
    """

    def __init__(self, inputs: Inputs) -> None:
        """Check some inputs.

        Raises:
            UsageError: not a tensor nor named inputs, no tensors at all, tensors within lists, a
                cache, no examples, or tensors that disagree on how many.
        """
        if isinstance(inputs, torch.Tensor):
            tensors = {"": inputs}
            self.inputs: Any = inputs
        elif isinstance(inputs, Mapping):
            self.inputs = dict(inputs)
            tensors = {k: v for k, v in inputs.items() if isinstance(v, torch.Tensor)}
            _refuse_hidden_tensors(inputs)
        else:
            raise UsageError(
                f"inputs must be a tensor or a dict of tensors, not {type(inputs).__name__}"
            )
        self.size = _size(tensors)

    def take(self, rows: NDArray[np.int64]) -> Any:
        """Some examples, in the order of ``rows``; inputs that are no tensors stay as they are."""
        if len(rows) == self.size and bool((rows == np.arange(self.size)).all()):
            return dict(self.inputs) if isinstance(self.inputs, dict) else self.inputs
        index = torch.from_numpy(np.ascontiguousarray(rows))

        def taken(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            return value.index_select(0, index.to(value.device))

        if isinstance(self.inputs, dict):
            return {name: taken(value) for name, value in self.inputs.items()}
        return taken(self.inputs)


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
    padding = batch.get(mask) if isinstance(batch, dict) else None
    if not isinstance(padding, torch.Tensor) or padding.ndim != 2:
        raise UsageError(f"trim={mask!r} needs an input of that name, a tensor [n, length]")
    length = padding.shape[1]
    used = padding.ne(0).any(0).nonzero()
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
    """Refuse tensors within lists, mappings and caches: only plain ones are split into examples."""
    for name, value in inputs.items():
        if "cache" in type(value).__name__.lower() or (name == _CACHE and value is not None):
            raise UsageError(
                f"input {name!r} is a cache, which belongs to the task it was made under: give "
                "whole inputs, or let generate() keep a cache of its own for each task"
            )
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


def stack(parts: Sequence[Part], size: int, labels: Sequence[str]) -> Any:
    """One output for all examples, of the type that the model returned.

    Args:
        parts: every group's examples, each example once, and its output.
        size: number of examples.
        labels: what to call each group in an error.

    Returns:
        Tensors with all examples along dimension 0, in the containers that the model used; of one
        group what the model returned, whatever it is.

    Raises:
        UsageError: an output has no dimension of examples, or groups differ in shape or element
            type; says which.
    """
    rows = [part[0] for part in parts]
    if len(parts) == 1:
        return parts[0][1]

    def joined(leaves: Sequence[torch.Tensor], path: str) -> torch.Tensor:
        first = _checked(leaves, rows, path)[0]
        for leaf, label in zip(leaves, labels, strict=True):
            if leaf.shape[1:] != first.shape[1:] or leaf.dtype != first.dtype:
                raise UsageError(
                    f"the model's outputs{path} cannot be stacked: {form(first)} for {labels[0]}, "
                    f"{form(leaf)} for {label}; outputs='list' returns one for each example"
                )
        stacked = first.new_empty((size, *first.shape[1:]))
        for index, leaf in zip(rows, leaves, strict=True):
            stacked[torch.from_numpy(index).to(stacked.device)] = leaf
        return stacked

    return _rebuild([part[1] for part in parts], "", joined)


def some_of(part: Part, kept: NDArray[np.bool_]) -> Part:
    """Some examples of a group, and what the model returned for them.

    Raises:
        UsageError: an output has no dimension of examples.
    """
    rows, output = part
    if kept.all():
        return part
    index = torch.from_numpy(np.flatnonzero(kept))

    def taken(leaves: Sequence[torch.Tensor], path: str) -> torch.Tensor:
        leaf = _checked(leaves, [rows], path)[0]
        return leaf.index_select(0, index.to(leaf.device))

    return rows[kept], _rebuild([output], "", taken)


def listed(parts: Sequence[Part], size: int) -> list[Any]:
    """One output for each example, as the model would return it for a batch of this one.

    Raises:
        UsageError: an output has no dimension of examples.
    """
    outputs: list[Any] = [None] * size
    for rows, output in parts:
        if len(rows) == 1 == size:
            return [output]
        for place, row in enumerate(rows.tolist()):

            def one(leaves: Sequence[torch.Tensor], path: str, at: int = place) -> torch.Tensor:
                return _checked(leaves, [rows], path)[0][at : at + 1]  # noqa: B023

            outputs[row] = _rebuild([output], "", one)
    return outputs


def _checked(
    leaves: Sequence[torch.Tensor], rows: Sequence[NDArray[np.int64]], path: str
) -> Sequence[torch.Tensor]:
    for leaf, index in zip(leaves, rows, strict=True):
        if leaf.ndim == 0 or leaf.shape[0] != len(index):
            raise UsageError(
                f"the model's output{path} is {form(leaf)} for {len(index)} examples: "
                f"{remedy(path)}"
            )
    return leaves


def leaves_of(output: Any) -> dict[str, torch.Tensor]:
    """The tensors of an output by their paths in it.

    Raises:
        UsageError: something in it is no tensor, and no container of tensors.
    """
    found: dict[str, torch.Tensor] = {}

    def take(leaves: Sequence[torch.Tensor], path: str) -> torch.Tensor:
        found[path] = leaves[0]
        return leaves[0]

    _rebuild([output], "", take)
    return found


def with_one_more(inputs: Any) -> Any:
    """A batch, as ``Batch.take`` returns it, with its first example once more at the end."""
    if isinstance(inputs, dict):
        return {name: with_one_more(value) for name, value in inputs.items()}
    return torch.cat([inputs, inputs[:1]]) if isinstance(inputs, torch.Tensor) else inputs


def form(leaf: torch.Tensor) -> str:
    """A tensor's element type and shape."""
    return f"{leaf.dtype} {list(leaf.shape)}"


def remedy(path: str, value: object = None) -> str:
    """What a user can do about an output that belongs to no example."""
    if "cache" in type(value).__name__.lower() or _CACHE in path:
        return f"call with use_cache=False, or {_HOOK}"
    if "loss" in path:
        return f"call without labels, or {_HOOK}"
    return _HOOK


def _rebuild(
    values: Sequence[Any], path: str, join: Callable[[Sequence[torch.Tensor], str], torch.Tensor]
) -> Any:
    """Put the same places of several outputs together, container by container."""
    first = values[0]
    if isinstance(first, torch.Tensor):
        if all(isinstance(value, torch.Tensor) for value in values):
            return join(values, path)
    elif dataclasses.is_dataclass(first) and not isinstance(first, type):
        if all(type(value) is type(first) for value in values):
            names = [field.name for field in dataclasses.fields(first)]
            fields = {
                name: _rebuild([getattr(v, name) for v in values], f"{path}.{name}", join)
                for name in names
            }
            return type(first)(**fields)
    elif isinstance(first, Mapping):
        if all(isinstance(value, Mapping) and list(value) == list(first) for value in values):
            pairs = {
                key: _rebuild([value[key] for value in values], f"{path}[{key!r}]", join)
                for key in first
            }
            return pairs if type(first) is dict else type(first)(pairs)  # type: ignore[call-arg]
    elif isinstance(first, (tuple, list)):
        if all(isinstance(v, (tuple, list)) and len(v) == len(first) for v in values):
            items = [
                _rebuild([value[number] for value in values], f"{path}[{number}]", join)
                for number in range(len(first))
            ]
            return type(first)(*items) if hasattr(first, "_fields") else type(first)(items)
    elif first is None or isinstance(first, (bool, int, float, str)):
        if all(type(value) is type(first) and value == first for value in values):
            return first
    else:
        raise UsageError(
            f"the model's output{path} is a {type(first).__name__}: {remedy(path, first)}"
        )
    raise UsageError(f"the model's output{path} differs between groups of examples: {remedy(path)}")
