"""Weights on their way to others: one version after another, exact and proved.

    tvbank.diff("old.safetensors", "new.safetensors", out="update.zip")
    tvbank.patch("model.safetensors", "update.zip", out="new.safetensors")

================  ====================================================================
``_diff.py``      ``diff``: two checkpoints -> one bank in one file, with one exact task
``_patch.py``     ``patch``: a checkpoint and such a file -> the new checkpoint
``_outputs.py``   where a patched checkpoint goes: a file, a folder, or its own place
``_in_place.py``  a folder's shards replaced by one rename of its index
``_proof.py``     the digest of all tensors of a checkpoint, by which it is known
================  ====================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.updates._diff import DiffReport as DiffReport
    from tvbank.updates._diff import diff as diff
    from tvbank.updates._patch import PatchReport as PatchReport
    from tvbank.updates._patch import patch as patch

__all__ = ["DiffReport", "PatchReport", "diff", "patch"]

__getattr__ = lazy_exports(
    __name__, {"DiffReport": "_diff", "PatchReport": "_patch", "diff": "_diff", "patch": "_patch"}
)
