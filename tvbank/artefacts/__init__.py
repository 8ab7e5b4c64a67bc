"""What people already have in place of a full fine-tune: compressed deltas, masks, weight updates.

======================= ========================================================================
``find_artefact``       path or dict -> the artefact that it is, if it is one
``open_fine_tune``      checkpoint or artefact -> a ``Checkpoint``, beside its base
``borrow_fine_tune``    the same for a ``with`` block
``identify_fine_tune``  a digest that changes when its files are written anew
``borrow_base``         a base's weights -> a ``Checkpoint``; an artefact is refused
``find_remote``         URL -> the files of the artefact there; ``fetched`` copies them
``Artefact``            the interface; ``Stored``: one tensor of it as it lies there
======================= ========================================================================

A fine-tune is made of an artefact and its base one unit at a time, in the artefact's own arithmetic
(docs/formats.md has a table). Formats are recognised by what is in a file, never by its name.

``registry`` lists the formats: ``wdelta`` (deltatensors), ``bitdelta``, ``deltazip``, ``tswitch``,
``masks`` (TALL-masks, EMR-Merging), ``hf_delta`` and ``sparse`` (updates of training fleets;
``byte_delta`` encodes the former, for writers too), ``adapters``, ``research`` (recognised and
refused); ``gguf`` gives those files the base's names. ``_contents`` looks at a file once for all of
them, ``_artefact`` is what they have in common, ``_given`` what the user gives beside a file that
lacks it, ``_fine_tune`` the checkpoint that results, ``_open`` the way in, ``_remote`` what of a
store is an artefact, and its files fetched. ``_bits`` and ``_groups`` unpack bits,
``_numpy_pickle`` reads numpy's pickled dicts safely.
"""

from __future__ import annotations

from tvbank.artefacts._artefact import Artefact as Artefact
from tvbank.artefacts._artefact import Stored as Stored
from tvbank.artefacts._contents import Contents as Contents
from tvbank.artefacts._given import BASE as BASE
from tvbank.artefacts._given import PLACES as PLACES
from tvbank.artefacts._open import borrow_base as borrow_base
from tvbank.artefacts._open import borrow_fine_tune as borrow_fine_tune
from tvbank.artefacts._open import find_artefact as find_artefact
from tvbank.artefacts._open import identify_fine_tune as identify_fine_tune
from tvbank.artefacts._open import open_fine_tune as open_fine_tune
from tvbank.artefacts._remote import fetched as fetched
from tvbank.artefacts._remote import find_remote as find_remote

__all__ = [
    "BASE",
    "PLACES",
    "Artefact",
    "Contents",
    "Stored",
    "borrow_base",
    "borrow_fine_tune",
    "fetched",
    "find_artefact",
    "find_remote",
    "identify_fine_tune",
    "open_fine_tune",
]
