"""Frames: lossless coding of one chunk of a task vector, float32 or int32, bit for bit.

- ``header``    the 24 bytes at a frame's head; reads them without numba
- ``sections``  names, ids, parameter ranges and sizes: what a header alone tells
- ``faults``    the reason codes of an invalid frame
- ``frame``     whole frames: encode, decode dense or sparse
- ``sass``      the choice of the smallest encoding by exact byte count
- ``encoding``  what every encoding of a section can do
- ``masks``     one file a mask encoding: where the non-zeros are
- ``values``    one file a value encoding: what the non-zeros are
- ``decoding``  the decoder of frames, on memory by address
- ``rice``      Golomb–Rice symbols, shared by four encodings
- ``rans``      an entropy coder: symbols by frequency, in integers
- ``densities`` fixed tables of run lengths for it, by density
- ``fields``    bit-packed fields, shared by four encodings
- ``gather``    entries taken from and put to a list of places
- ``_compiling`` how kernels are compiled, and how their machine code is kept
- ``kernel``    numba, and the two machine instructions that decoding leans on

Everything here is re-exported lazily, so that ``read_header`` costs no numba.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.coding.faults import REASONS as REASONS
    from tvbank.coding.frame import decode_frame as decode_frame
    from tvbank.coding.frame import decode_sparse as decode_sparse
    from tvbank.coding.frame import encode_frame as encode_frame
    from tvbank.coding.frame import frame_sizes as frame_sizes
    from tvbank.coding.header import HEADER_BYTES as HEADER_BYTES
    from tvbank.coding.header import MAX_ENTRIES as MAX_ENTRIES
    from tvbank.coding.header import FrameHeader as FrameHeader
    from tvbank.coding.header import read_header as read_header
    from tvbank.coding.sass import FrameSizes as FrameSizes
    from tvbank.coding.sections import MASK_ENCODINGS as MASK_ENCODINGS
    from tvbank.coding.sections import VALUE_ENCODINGS as VALUE_ENCODINGS

__getattr__ = lazy_exports(
    __name__,
    {
        "HEADER_BYTES": "header",
        "MASK_ENCODINGS": "sections",
        "MAX_ENTRIES": "header",
        "REASONS": "faults",
        "VALUE_ENCODINGS": "sections",
        "FrameHeader": "header",
        "FrameSizes": "sass",
        "decode_frame": "frame",
        "decode_sparse": "frame",
        "encode_frame": "frame",
        "frame_sizes": "frame",
        "read_header": "header",
    },
)
