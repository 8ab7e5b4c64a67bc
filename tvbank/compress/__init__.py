"""Compressors: what to keep of a task vector.

==================  ======================================================================
``_compressor.py``  ``Compressor``, what they have in common; ``Entries``, what it returns
``tswitch.py``      ``TSwitch``: the largest entries of each sign as one magnitude ([F] Eq. 2-4)
``budget.py``       ``Budget``: the least harm for a size, which ``_target.py`` reads
``_candidates.py``  what a budget can keep of a unit: by ``_rows.py``, ``_magnitudes.py``,
                    ``_choices.py``, at the price of ``_rate.py``; shared out by ``_allocate.py``,
                    the last bytes by ``_fill.py``
``_draw.py``        ``Budget``'s rounding: by chance, right on average; ``_planned.py`` does it
``exact.py``        ``Exact``: integer steps between floats; restores every bit
``_named.py``       ``compressor_named``: by name and options, as users give them
``_pairs.py``       ``Pairs``: the whole task vector, for those that must see all of it first
``_difference.py``  a unit's difference, subtracted block by block
``_select.py``      the largest entries of each sign; counted by ``_histogram.py``
``_each.py``        the type of what spreads work over cores
==================  ======================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.compress._compressor import Compressor as Compressor
    from tvbank.compress._compressor import Entries as Entries
    from tvbank.compress._difference import Difference as Difference
    from tvbank.compress._named import compressor_named as compressor_named
    from tvbank.compress._pairs import PairedUnit as PairedUnit
    from tvbank.compress._pairs import Pairs as Pairs
    from tvbank.compress.budget import Budget as Budget
    from tvbank.compress.exact import Exact as Exact
    from tvbank.compress.tswitch import TSwitch as TSwitch

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

__getattr__ = lazy_exports(
    __name__,
    {
        "Budget": "budget",
        "Compressor": "_compressor",
        "Difference": "_difference",
        "Entries": "_compressor",
        "Exact": "exact",
        "PairedUnit": "_pairs",
        "Pairs": "_pairs",
        "TSwitch": "tswitch",
        "compressor_named": "_named",
    },
)
