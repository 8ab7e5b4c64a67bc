"""All merge methods by name. A new one is its file and one row here."""

from __future__ import annotations

from typing import Final

from tvbank._registry import Registry, Row
from tvbank.merging._method import MergeMethod

METHODS: Final[Registry[MergeMethod]] = Registry(
    "merge method",
    "tvbank.merge_methods",
    MergeMethod,  # type: ignore[type-abstract]
    {
        "arithmetic": Row("tvbank.merging._method:TaskArithmetic"),
        "ties": Row("tvbank.merging._ties:Ties", ("density", "across")),
        "dare": Row("tvbank.merging._dare:Dare", ("drop", "seed")),
    },
)
