"""Names: a unit has one in a bank, maybe others in files, and one or more places in a live model.

====================  ==========================================================================
``_locate.py``        ``locate``: where a live model has what a bank names
``_checkpoints.py``   ``named_as``: a checkpoint by the names of a bank's base
``_units.py``         ``units_of``: which units a parameter of a live or peft's model is made of
``_renamed.py``       that checkpoint: tensors that are parts of others, or made of several
``_names.py``         ``names=``: what a caller says of names; ``read_names``: from a file
``_conversions.py``   what transformers' own conversion tables say of files and models
``_traced.py``        where splits and permutations take each entry of some tensors
``_architecture.py``  the model behind a checkpoint, without weights: what its names lead to
``_window.py``        ``Part``, ``Window``: a slice of a tensor, a transposition, a permutation
``prefixes.py``       prefixes and wrappers: names that only begin differently
``meanings.py``       what a name tells: a buffer, a tie, a constant, a head
``causes.py``         why a checkpoint lacks units, and what to do
====================  ==========================================================================

``locate`` starts from a model, ``named_as`` from a checkpoint, and ``units_of`` from the name of a
module's parameter, as an adapter has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports
from tvbank.naming._names import Names as Names
from tvbank.naming._names import names_function as names_function
from tvbank.naming._names import read_names as read_names
from tvbank.naming._window import Part as Part
from tvbank.naming._window import Parts as Parts
from tvbank.naming._window import Window as Window
from tvbank.naming._window import assembled as assembled
from tvbank.naming._window import shape_of as shape_of

if TYPE_CHECKING:
    from tvbank.naming._checkpoints import Named as Named
    from tvbank.naming._checkpoints import by_names as by_names
    from tvbank.naming._checkpoints import named_as as named_as
    from tvbank.naming._locate import Located as Located
    from tvbank.naming._locate import locate as locate
    from tvbank.naming._renamed import RenamedCheckpoint as RenamedCheckpoint
    from tvbank.naming._units import units_of as units_of

__all__ = [
    "Located",
    "Named",
    "Names",
    "Part",
    "Parts",
    "RenamedCheckpoint",
    "Window",
    "assembled",
    "by_names",
    "locate",
    "named_as",
    "names_function",
    "read_names",
    "shape_of",
    "units_of",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "Located": "_locate",
        "Named": "_checkpoints",
        "RenamedCheckpoint": "_renamed",
        "by_names": "_checkpoints",
        "locate": "_locate",
        "named_as": "_checkpoints",
        "units_of": "_units",
    },
)
