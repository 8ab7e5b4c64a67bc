"""From a bank back to weights.

===================  =================================================================
``_apply.py``        a part of a unit: base plus entries, in the base's own element type
``_sum.py``          weighted sums of lossy tasks, all of a chunk's frames at once
``_assemble.py``     whole units, chunk by chunk on all cores
``_export.py``       ``export``: one task, written as a safetensors file, unit by unit
``_merge.py``        ``merge``, ``export_merged``: several tasks, by a method
``_method.py``       ``MergeMethod``: what every method does
``_arithmetic.py``   ``TaskArithmetic``: a weighted sum of task vectors
``_ties.py``         ``Ties``: trim, elect a sign, average those that agree
``_trim.py``         the magnitudes from which TIES keeps entries
``_dare.py``         ``Dare``: drop at random, rescale, sum
``_tensor.py``       arrays of every element type as torch tensors
===================  =================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.merging._arithmetic import TaskArithmetic as TaskArithmetic
    from tvbank.merging._dare import Dare as Dare
    from tvbank.merging._export import export as export
    from tvbank.merging._merge import export_merged as export_merged
    from tvbank.merging._merge import merge as merge
    from tvbank.merging._method import MergeMethod as MergeMethod
    from tvbank.merging._ties import Ties as Ties

__all__ = ["Dare", "MergeMethod", "TaskArithmetic", "Ties", "export", "export_merged", "merge"]

__getattr__ = lazy_exports(
    __name__,
    {
        "Dare": "_dare",
        "MergeMethod": "_method",
        "TaskArithmetic": "_arithmetic",
        "Ties": "_ties",
        "export": "_export",
        "export_merged": "_merge",
        "merge": "_merge",
    },
)
