"""Recipes: how several models become one, as mergekit's YAML says it.

================  ====================================================================
``_yaml.py``      YAML as a tree of values that know their lines
``settings.py``   parameters: numbers, gradients over layers, filters
``recipe.py``     ``Recipe``: the whole of it, checked as far as it can be without a bank
``_layers.py``    which tensors are layers, by their names
``_plan.py``      a recipe and a layout: what becomes of every tensor
``_models.py``    which tasks are meant, and their weights
``_work.py``      how each tensor of the result is made
``_merge.py``     ``merge_recipe``, ``export_recipe``
``method.py``     ``RecipeMethod``: what every method is
``methods/``      the methods, one idea a file; ``tvbank/merging/registry.py`` lists them
================  ====================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.merging.recipes._merge import export_recipe as export_recipe
    from tvbank.merging.recipes._merge import merge_recipe as merge_recipe
    from tvbank.merging.recipes.method import Group as Group
    from tvbank.merging.recipes.method import Input as Input
    from tvbank.merging.recipes.method import Parameter as Parameter
    from tvbank.merging.recipes.method import RecipeMethod as RecipeMethod
    from tvbank.merging.recipes.recipe import Recipe as Recipe

__all__ = [
    "Group",
    "Input",
    "Parameter",
    "Recipe",
    "RecipeMethod",
    "export_recipe",
    "merge_recipe",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "Group": "method",
        "Input": "method",
        "Parameter": "method",
        "Recipe": "recipe",
        "RecipeMethod": "method",
        "export_recipe": "_merge",
        "merge_recipe": "_merge",
    },
)
