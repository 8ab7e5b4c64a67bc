"""Weights on their way to others: one version after another, exact and proved.

>>> report = tvbank.diff("base.safetensors", "cats.safetensors", out="update.zip")
>>> report = tvbank.patch("base.safetensors", "update.zip", out="patched.safetensors")

================  ====================================================================
``_diff.py``      ``diff``: two checkpoints -> one bank in one file, with one exact task
``_stages.py``    of the rows that move by few steps a task of their own, where that pays
``_patch.py``     ``patch``: a checkpoint and such a file -> the new checkpoint
``_outputs.py``   where a patched checkpoint goes: a file, a folder, or its own place
``_in_place.py``  a folder's shards replaced by one rename of its index
``_changed.py``   what a task has otherwise than the version before: ``patches``
``_fleet.py``     updates that training fleets apply: ``write_hf_delta``, ``write_sparse``
``_follow.py``    ``follow``: a live model kept at the newest version of a bank
``_follow_file.py``  ``follow_file``: a file kept there
``_proof.py``     the digest of all tensors of a checkpoint, by which it is known
================  ====================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.updates._changed import Patch as Patch
    from tvbank.updates._changed import patches as patches
    from tvbank.updates._changed import patches_of as patches_of
    from tvbank.updates._diff import DiffReport as DiffReport
    from tvbank.updates._diff import diff as diff
    from tvbank.updates._fleet import UpdateReport as UpdateReport
    from tvbank.updates._fleet import write_hf_delta as write_hf_delta
    from tvbank.updates._fleet import write_sparse as write_sparse
    from tvbank.updates._follow import Follower as Follower
    from tvbank.updates._follow import FollowReport as FollowReport
    from tvbank.updates._follow import follow as follow
    from tvbank.updates._follow_file import follow_file as follow_file
    from tvbank.updates._patch import PatchReport as PatchReport
    from tvbank.updates._patch import patch as patch

_OWNERS = {
    "DiffReport": "_diff",
    "FollowReport": "_follow",
    "Follower": "_follow",
    "Patch": "_changed",
    "PatchReport": "_patch",
    "UpdateReport": "_fleet",
    "diff": "_diff",
    "follow": "_follow",
    "follow_file": "_follow_file",
    "patch": "_patch",
    "patches": "_changed",
    "patches_of": "_changed",
    "write_hf_delta": "_fleet",
    "write_sparse": "_fleet",
}

__all__ = [
    "DiffReport",
    "FollowReport",
    "Follower",
    "Patch",
    "PatchReport",
    "UpdateReport",
    "diff",
    "follow",
    "follow_file",
    "patch",
    "patches",
    "patches_of",
    "write_hf_delta",
    "write_sparse",
]

__getattr__ = lazy_exports(__name__, _OWNERS)
