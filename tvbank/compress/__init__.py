"""Compressors: what to keep of a task vector.

==================  ======================================================================
``protocol.py``     ``Compressor``, what they have in common; ``Pairs``, what they see
``tswitch.py``      ``TSwitch``: the largest entries of each sign as one magnitude ([F] Eq. 2-4)
``budget/``         ``Budget``: the least harm for a size; rounds by chance
``exact.py``        ``Exact``: integer steps between floats; restores every bit
``registry.py``     all compressors by name, those of other packages too
``lossy.py``        ``Difference``, subtracted block by block; ``Planned``, a choice a unit
``selection.py``    the largest entries, selected by radix
``chance.py``       chance that is the same wherever it is drawn: SplitMix64
==================  ======================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.compress.budget.budget import Budget as Budget
    from tvbank.compress.exact import Exact as Exact
    from tvbank.compress.lossy import Difference as Difference
    from tvbank.compress.protocol import Compressor as Compressor
    from tvbank.compress.protocol import Entries as Entries
    from tvbank.compress.protocol import PairedUnit as PairedUnit
    from tvbank.compress.protocol import Pairs as Pairs
    from tvbank.compress.registry import compressor_named as compressor_named
    from tvbank.compress.tswitch import TSwitch as TSwitch

_OWNERS = {
    "Budget": "budget.budget",
    "Compressor": "protocol",
    "Difference": "lossy",
    "Entries": "protocol",
    "Exact": "exact",
    "PairedUnit": "protocol",
    "Pairs": "protocol",
    "TSwitch": "tswitch",
    "compressor_named": "registry",
}

__all__ = [
    "Budget",
    "Compressor",
    "Difference",
    "Entries",
    "Exact",
    "PairedUnit",
    "Pairs",
    "TSwitch",
    "compressor_named",
]

__getattr__ = lazy_exports(__name__, _OWNERS)
