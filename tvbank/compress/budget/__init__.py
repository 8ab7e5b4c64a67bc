"""Budget: the best that a size allows. Its parts are also those of FlexSwitch by bytes.

==================  ==================================================================
``budget.py``       ``Budget``, the compressor
``target.py``       ``Target``: sizes as people write them, such as ``"1 %"``
``tolerance.py``    ``Tolerance``: losses as people write them, such as ``"1 point"``
``drawing.py``      ``draw``: rounding by chance, right on average, row by row
``choices.py``      what can be kept of a unit, and its harm
``candidates.py``   one unit with its choices, and what they cost in bytes
``allocate.py``     sharing bytes among units, down to the last byte
``products.py``     what can be kept of a unit as a product, and its squared error
``factors.py``      sharing bytes among the components of an adapter's products
==================  ==================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.compress.budget.budget import Budget as Budget
    from tvbank.compress.budget.target import Target as Target

__all__ = ["Budget", "Target"]

__getattr__ = lazy_exports(__name__, {"Budget": "budget", "Target": "target"})
