"""Frames: lossless coding of one chunk of a task vector, float32 or int32, bit for bit.

- ``encoding``  an encoding of a section: a row of the spec's table, and a writer
- ``masks``     one file a mask encoding: where the non-zeros are
- ``values``    one file a value encoding: what the non-zeros are
- ``header``    the 24 bytes at a frame's head; reads them without numba
- ``faults``    the reason codes of an invalid frame
- ``decoding``  the decoder of frames, on memory by address
- ``frame``     whole frames: encode with the smallest encodings, decode dense or sparse
- ``product``   entries as a scaled product of two thin matrices, in one order of summation
- ``packed``    both factors of such a product in few bits
- ``levels``    the levels of those: a binary range coder whose chances adapt
- ``streams``   Golomb–Rice symbols and bit-packed fields, written for eight encodings
- ``rans``      an entropy coder: symbols by frequency, in integers
- ``densities`` fixed tables of run lengths for it, by density
- ``magnitudes`` symbols of steps for it, and low bits below them
- ``steps``     what exact tasks are made of: steps between floats, and their exponent bytes
- ``segments``  which exponents of the base go together
- ``costs``     what writers compare: bits of entropy, in integers
- ``kernel``    the decorator of compiled loops, and what the machine can and Python cannot name;
  ``_compiling`` has how
- ``plain``     loops that read as plain Python, and those instructions, where numba is missing

Everything here is re-exported lazily, so that ``read_header`` costs no numba.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.coding.faults import NO_BASE as NO_BASE
    from tvbank.coding.faults import REASONS as REASONS
    from tvbank.coding.frame import FrameSizes as FrameSizes
    from tvbank.coding.frame import decode_frame as decode_frame
    from tvbank.coding.frame import decode_sparse as decode_sparse
    from tvbank.coding.frame import encode_frame as encode_frame
    from tvbank.coding.frame import frame_length as frame_length
    from tvbank.coding.frame import frame_sizes as frame_sizes
    from tvbank.coding.header import HEADER_BYTES as HEADER_BYTES
    from tvbank.coding.header import MASK_ENCODINGS as MASK_ENCODINGS
    from tvbank.coding.header import MAX_ENTRIES as MAX_ENTRIES
    from tvbank.coding.header import VALUE_ENCODINGS as VALUE_ENCODINGS
    from tvbank.coding.header import FrameHeader as FrameHeader
    from tvbank.coding.header import read_header as read_header

__getattr__ = lazy_exports(
    __name__,
    {
        "HEADER_BYTES": "header",
        "MASK_ENCODINGS": "header",
        "MAX_ENTRIES": "header",
        "NO_BASE": "faults",
        "REASONS": "faults",
        "VALUE_ENCODINGS": "header",
        "FrameHeader": "header",
        "FrameSizes": "frame",
        "decode_frame": "frame",
        "decode_sparse": "frame",
        "encode_frame": "frame",
        "frame_length": "frame",
        "frame_sizes": "frame",
        "read_header": "header",
    },
)
