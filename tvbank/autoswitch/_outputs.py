"""What a model returned for groups of examples, put together in the order of the inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tvbank.errors import UsageError

#: Indices of a group's examples in the batch, and what the model returned for them.
Part = tuple[NDArray[np.int64], Any]

_HINT = "give a forward= hook that returns tensors with examples along dimension 0"


def stack(parts: Sequence[Part], size: int, labels: Sequence[str]) -> Any:
    """One output for all examples, of the type that the model returned.

    Args:
        parts: every group's examples, each example once, and its output.
        size: number of examples.
        labels: what to call each group in an error.

    Returns:
        Tensors with all examples along dimension 0, in the containers that the model used.

    Raises:
        UsageError: an output has no dimension of examples, or groups differ in shape or element
            type; says which.
    """
    rows = [part[0] for part in parts]
    if len(parts) == 1:
        return _rebuild([parts[0][1]], "", lambda leaves, path: _checked(leaves, rows, path)[0])

    def joined(leaves: Sequence[torch.Tensor], path: str) -> torch.Tensor:
        first = _checked(leaves, rows, path)[0]
        for leaf, label in zip(leaves, labels, strict=True):
            if leaf.shape[1:] != first.shape[1:] or leaf.dtype != first.dtype:
                raise UsageError(
                    f"the model's outputs{path} cannot be stacked: {_form(first)} for {labels[0]}, "
                    f"{_form(leaf)} for {label}; outputs='list' returns one for each example"
                )
        whole = first.new_empty((size, *first.shape[1:]))
        for index, leaf in zip(rows, leaves, strict=True):
            whole[torch.from_numpy(index).to(whole.device)] = leaf
        return whole

    return _rebuild([part[1] for part in parts], "", joined)


def listed(parts: Sequence[Part], size: int) -> list[Any]:
    """One output for each example, as the model would return it for a batch of this one.

    Raises:
        UsageError: an output has no dimension of examples.
    """
    found: list[Any] = [None] * size
    for rows, output in parts:
        for place, row in enumerate(rows.tolist()):

            def one(leaves: Sequence[torch.Tensor], path: str, at: int = place) -> torch.Tensor:
                return _checked(leaves, [rows], path)[0][at : at + 1]  # noqa: B023

            found[row] = _rebuild([output], "", one)
    return found


def _checked(
    leaves: Sequence[torch.Tensor], rows: Sequence[NDArray[np.int64]], path: str
) -> Sequence[torch.Tensor]:
    for leaf, index in zip(leaves, rows, strict=True):
        if leaf.ndim == 0 or leaf.shape[0] != len(index):
            raise UsageError(
                f"the model's output{path} is {_form(leaf)} for {len(index)} examples: {_HINT}"
            )
    return leaves


def _form(leaf: torch.Tensor) -> str:
    return f"{leaf.dtype} {list(leaf.shape)}"


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
        raise UsageError(f"the model's output{path} is a {type(first).__name__}: {_HINT}")
    raise UsageError(f"the model's output{path} differs between groups of examples: {_HINT}")
