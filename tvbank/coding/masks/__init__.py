"""Mask encodings: where the non-zeros of a chunk lie. One file an encoding, in the order of ids.

- ``empty``    0: no entry differs from zero
- ``full``     1: no entry below the extent is zero
- ``bitmap``   2: one bit an entry
- ``index``    3: bit-packed positions
- ``holes``    4: Golomb–Rice coded distances between zeros
- ``runs``     5: Golomb–Rice coded lengths of alternating runs
- ``gaps``     6: Golomb–Rice coded distances between non-zeros
- ``grouped``  7: grouped coordinates, [F] Eq. 16
- ``blocks``   8: entropy-coded runs in blocks of equally dense rows and columns
- ``base_blocks`` 9: entropy-coded runs among entries of equal rows and equal exponents of the base

Each is a row of the spec's table, and the writer of its section; ``decoding`` has the decoders.
``mask`` scans a chunk into the ``Mask`` that all writers read; ``blocks_writer`` and ``classes``
write ``blocks``, ``base_blocks_writer`` the other. Only these four are compiled: what reads headers
costs no numba.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tvbank.coding.encoding import Encoding
from tvbank.coding.masks.base_blocks import BaseBlocks
from tvbank.coding.masks.bitmap import Bitmap
from tvbank.coding.masks.blocks import Blocks
from tvbank.coding.masks.empty import Empty
from tvbank.coding.masks.full import Full
from tvbank.coding.masks.gaps import Gaps
from tvbank.coding.masks.grouped import Grouped
from tvbank.coding.masks.holes import Holes
from tvbank.coding.masks.index import Index
from tvbank.coding.masks.runs import Runs

if TYPE_CHECKING:
    from tvbank.coding.masks.mask import Mask

#: Every mask encoding, by id.
MASKS: Final[tuple[Encoding[Mask], ...]] = (
    Empty(), Full(), Bitmap(), Index(), Holes(), Runs(), Gaps(), Grouped(), Blocks(),
    BaseBlocks(),
)  # fmt: skip
