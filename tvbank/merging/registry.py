"""All merge methods by name, and those of recipes. A new one is its file and one row here."""

from __future__ import annotations

from typing import Final

from tvbank._registry import Registry, Row
from tvbank.merging._method import MergeMethod
from tvbank.merging.recipes.method import RecipeMethod

METHODS: Final[Registry[MergeMethod]] = Registry(
    "merge method",
    "tvbank.merge_methods",
    MergeMethod,  # type: ignore[type-abstract]
    {
        "arithmetic": Row("tvbank.merging._method:TaskArithmetic"),
        "ties": Row("tvbank.merging._ties:Ties", ("density", "across", "divide_by")),
        "dare": Row("tvbank.merging._dare:Dare", ("drop", "seed")),
    },
)

#: By the names that mergekit gives them.
RECIPE_METHODS: Final[Registry[RecipeMethod]] = Registry(
    "method of recipes",
    "tvbank.recipe_methods",
    RecipeMethod,  # type: ignore[type-abstract]
    {
        "linear": Row("tvbank.merging.recipes.methods.linear:Linear"),
        "task_arithmetic": Row("tvbank.merging.recipes.methods.task_vectors:TaskArithmetic"),
        "ties": Row("tvbank.merging.recipes.methods.ties:Ties"),
        "dare_linear": Row("tvbank.merging.recipes.methods.dare:DareLinear"),
        "dare_ties": Row("tvbank.merging.recipes.methods.dare:DareTies"),
        "breadcrumbs": Row("tvbank.merging.recipes.methods.breadcrumbs:Breadcrumbs"),
        "breadcrumbs_ties": Row("tvbank.merging.recipes.methods.breadcrumbs:BreadcrumbsTies"),
        "ram": Row("tvbank.merging.recipes.methods.ram:Ram"),
        "ramplus_tl": Row("tvbank.merging.recipes.methods.ram:RamPlus"),
        "slerp": Row("tvbank.merging.recipes.methods.slerp:Slerp"),
        "passthrough": Row("tvbank.merging.recipes.methods.passthrough:Passthrough"),
    },
)
