"""Compressors: what to keep of a task vector.

==================  ======================================================================
``_compressor.py``  ``Compressor``, what they have in common
``tswitch.py``      ``TSwitch``: the largest entries of each sign as one magnitude ([F] Eq. 2-4)
``exact.py``        ``Exact``: integer steps between floats; restores every bit
==================  ======================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.compress._compressor import Compressor as Compressor
    from tvbank.compress.exact import Exact as Exact
    from tvbank.compress.tswitch import TSwitch as TSwitch

__all__ = ["Compressor", "Exact", "TSwitch"]

__getattr__ = lazy_exports(
    __name__, {"Compressor": "_compressor", "Exact": "exact", "TSwitch": "tswitch"}
)
