"""Value encodings: what the non-zeros of a chunk are. One file an encoding, in the order of ids.

- ``none``      0: nothing, for a chunk of zeros
- ``sign``      1: one magnitude and sign bits
- ``table``     2: codes into a table of at most 256 patterns
- ``affine``    3: codes on a grid, offset + code·step
- ``float16``   4: IEEE halves
- ``bfloat16``  5: upper halves of float32 patterns
- ``raw``       6: 32-bit patterns
- ``rice``      7: Golomb–Rice coded integer steps
- ``magnitudes`` 8: entropy-coded integer steps
- ``base_magnitudes`` 9: the same, by the exponent of the base's weight

Each is a row of the spec's table, and the writer of its section; ``decoding`` has the decoders.
``facts`` has the ``Values`` that all writers read, from ``grid`` (affine grids); ``laws_writer``
writes the last two. Only these three are compiled: what reads headers costs no numba.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tvbank.coding.encoding import Encoding
from tvbank.coding.values.affine import Affine
from tvbank.coding.values.base_magnitudes import BaseMagnitudes
from tvbank.coding.values.bfloat16 import BFloat16
from tvbank.coding.values.float16 import Float16
from tvbank.coding.values.magnitudes import Magnitudes
from tvbank.coding.values.none import NoValues
from tvbank.coding.values.raw import Raw
from tvbank.coding.values.rice import Rice
from tvbank.coding.values.sign import Sign
from tvbank.coding.values.table import Table

if TYPE_CHECKING:
    from tvbank.coding.values.facts import Values

#: Every value encoding, by id.
VALUES: Final[tuple[Encoding[Values], ...]] = (
    NoValues(), Sign(), Table(), Affine(), Float16(), BFloat16(), Raw(), Rice(),
    Magnitudes(), BaseMagnitudes(),
)  # fmt: skip
