"""One call of a module that can be answered again, for some of its examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray


@final
@dataclass(frozen=True)
class Call:
    """What a module was given and what it returned.

    Attributes:
        rows: int64 [m], the examples of the batch that it was called with, ascending.
        given: copies of positional arguments, and of those by name.
        returned: a copy.
    """

    rows: NDArray[np.int64]
    given: Any
    returned: Any

    def answer(self, rows: NDArray[np.int64], args: Any, kwargs: Any) -> tuple[Any] | None:
        """What the module returns for some of the examples, if its arguments are theirs.

        Returns:
            The output in a tuple, for the caller to change as it likes; or ``None``.
        """
        place = np.searchsorted(self.rows, rows)
        if (place >= len(self.rows)).any() or (self.rows[place] != rows).any():
            return None
        index = None if len(rows) == len(self.rows) else torch.from_numpy(place)
        by_example = [False]
        if not self._matches(self.given, (args, kwargs), index, by_example):
            return None
        if not by_example[0]:
            return (_mapped(self.returned, torch.clone),)
        return (_mapped(self.returned, lambda tensor: _picked(tensor, index)),)

    def _matches(
        self, stored: Any, given: Any, index: torch.Tensor | None, by_example: list[bool]
    ) -> bool:
        """Whether an argument is what it was; notes whether any has a row an example."""
        if isinstance(stored, torch.Tensor):
            if not isinstance(given, torch.Tensor) or stored.device != given.device:
                return False
            if stored.dtype != given.dtype or stored.shape[1:] != given.shape[1:]:
                return False
            if stored.ndim and len(stored) == len(self.rows):
                wanted = (
                    stored if index is None else stored.index_select(0, index.to(stored.device))
                )
                if wanted.shape == given.shape and torch.equal(wanted, given):
                    by_example[0] = True
                    return True
            return stored.shape == given.shape and torch.equal(stored, given)
        if isinstance(stored, (tuple, list)):
            return (
                type(given) is type(stored)
                and len(given) == len(stored)
                and all(
                    self._matches(one, other, index, by_example)
                    for one, other in zip(stored, given, strict=True)
                )
            )
        if isinstance(stored, dict):
            return (
                isinstance(given, dict)
                and stored.keys() == given.keys()
                and all(self._matches(stored[k], given[k], index, by_example) for k in stored)
            )
        return type(given) is type(stored) and bool(given == stored)


def record(rows: NDArray[np.int64], args: Any, kwargs: Any, output: Any) -> Call | None:
    """Remember a call, unless there is more to it than tensors, numbers and text.

    Copies are kept: what comes after may write to what a module returned.
    """
    if not (_is_plain((args, kwargs)) and _is_plain(output)):
        return None
    given, tensors = list(_tensors((args, kwargs))), list(_tensors(output))
    several = any(tensor.ndim and len(tensor) == len(rows) for tensor in given)
    if several and any(not tensor.ndim or len(tensor) != len(rows) for tensor in tensors):
        return None  # which part of such an output is whose cannot be told
    return Call(rows, _mapped((args, kwargs), torch.clone), _mapped(output, torch.clone))


def _picked(tensor: torch.Tensor, index: torch.Tensor | None) -> torch.Tensor:
    return tensor.clone() if index is None else tensor.index_select(0, index.to(tensor.device))


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return type(value) in (tuple, list) and all(map(_is_plain, value))
    if isinstance(value, dict):
        return type(value) is dict and all(map(_is_plain, value.values()))
    return value is None or isinstance(value, (torch.Tensor, bool, int, float, str))


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list, dict)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _tensors(each)


def _mapped(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same containers with other tensors."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, (tuple, list)):
        return type(value)(_mapped(each, change) for each in value)
    if isinstance(value, dict):
        return {name: _mapped(each, change) for name, each in value.items()}
    return value
