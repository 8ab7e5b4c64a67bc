"""From a bank back to weights.

================  ====================================================================
``_weights.py``   ``export``, ``merge``, ``state_dict``: writing weights
``_output.py``    where they go: a file, or a model folder
``restored.py``   one task as it is, tensor by tensor
``weights.py``    the weights of tasks, as users give them
``_adapter.py``   ``export_adapter``: a task as an adapter
``_method.py``    ``MergeMethod``: what every method does; ``TaskArithmetic``
``_ties.py``      ``Ties``: trim, elect a sign, average those that agree
``_dare.py``      ``Dare``: drop at random, rescale, sum
``registry.py``   all merge methods by name, of recipes and of other packages too
``_assemble.py``  whole units, chunk by chunk on all cores
``_sum.py``       weighted sums of lossy tasks, all of a chunk's frames at once
``blend.py``      buffers of several tasks: a mean, never a sum
``apply.py``      a part of a unit: base plus entries, in the base's own element type
``tensor.py``     arrays of every element type as torch tensors, and back
``recipes/``      merging as mergekit's YAML says: ``Recipe``, ``merge_recipe``
================  ====================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.merging._adapter import AdapterReport as AdapterReport
    from tvbank.merging._adapter import export_adapter as export_adapter
    from tvbank.merging._dare import Dare as Dare
    from tvbank.merging._method import MergeMethod as MergeMethod
    from tvbank.merging._method import TaskArithmetic as TaskArithmetic
    from tvbank.merging._ties import Ties as Ties
    from tvbank.merging._weights import export as export
    from tvbank.merging._weights import export_merged as export_merged
    from tvbank.merging._weights import merge as merge
    from tvbank.merging._weights import state_dict as state_dict
    from tvbank.merging.recipes import Recipe as Recipe
    from tvbank.merging.recipes import export_recipe as export_recipe
    from tvbank.merging.recipes import merge_recipe as merge_recipe

__all__ = [
    "AdapterReport",
    "Dare",
    "MergeMethod",
    "Recipe",
    "TaskArithmetic",
    "Ties",
    "export",
    "export_adapter",
    "export_merged",
    "export_recipe",
    "merge",
    "merge_recipe",
    "state_dict",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "AdapterReport": "_adapter",
        "Dare": "_dare",
        "MergeMethod": "_method",
        "TaskArithmetic": "_method",
        "Ties": "_ties",
        "export": "_weights",
        "export_adapter": "_adapter",
        "export_merged": "_weights",
        "Recipe": "recipes",
        "export_recipe": "recipes",
        "merge": "_weights",
        "merge_recipe": "recipes",
        "state_dict": "_weights",
    },
)
