"""Applying a function to many items, here or on several cores: what ``map`` can do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Each(Protocol):
    """``map`` is one, ``ThreadPoolExecutor.map`` another: results come in the order of items."""

    def __call__(
        self, function: Callable[[_Item], _Result], items: Iterable[_Item], /
    ) -> Iterable[_Result]:
        """Apply the function to each item."""
