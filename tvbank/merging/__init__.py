"""From a bank back to weights.

================  =====================================================================
``_apply.py``     a part of a unit: base plus entries, in the base's own element type
``_assemble.py``  whole units, chunk by chunk on all cores
``_export.py``    ``export``: one task, written as a safetensors file, unit by unit
``_merge.py``     ``merge``, ``export_merged``: a weighted sum of tasks (task arithmetic)
================  =====================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.merging._export import export as export
    from tvbank.merging._merge import export_merged as export_merged
    from tvbank.merging._merge import merge as merge

__all__ = ["export", "export_merged", "merge"]

__getattr__ = lazy_exports(
    __name__, {"export": "_export", "export_merged": "_merge", "merge": "_merge"}
)
