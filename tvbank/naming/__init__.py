"""Names: a unit has one in a bank, maybe others in files, and one or more places in a live model.

===================  ==========================================================================
``_locate.py``       ``locate``: where a live model has what a bank names
``_conversions.py``  what transformers' own conversion tables say of files and models
``prefixes.py``      below which prefix a model has the names of the base
``_window.py``       ``Part``, ``Window``: a slice of a fused or stacked tensor, a transposition
``meanings.py``      what a name tells: a buffer, a tie, a constant, a head
===================  ==========================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports
from tvbank.naming._window import Part as Part
from tvbank.naming._window import Window as Window

if TYPE_CHECKING:
    from tvbank.naming._locate import Located as Located
    from tvbank.naming._locate import Names as Names
    from tvbank.naming._locate import locate as locate

__all__ = ["Located", "Names", "Part", "Window", "locate"]

__getattr__ = lazy_exports(__name__, dict.fromkeys(["Located", "Names", "locate"], "_locate"))
