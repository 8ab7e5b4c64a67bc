"""The 24 bytes at the head of every frame: parsed, checked and written, without numba.

| offset | size | type | field                                                       |
|--------|------|------|-------------------------------------------------------------|
| 0      | 1    | u8   | frame version (1)                                           |
| 1      | 1    | u8   | element type                                                |
| 2      | 1    | u8   | mask encoding                                               |
| 3      | 1    | u8   | value encoding                                              |
| 4      | 2    | u16  | mask parameter                                              |
| 6      | 2    | u16  | value parameter                                             |
| 8      | 4    | u32  | entries                                                     |
| 12     | 4    | u32  | extent: position of the last non-zero + 1, 0 if there is none |
| 16     | 4    | u32  | nonzeros                                                    |
| 20     | 4    | u32  | bytes of the mask section                                   |
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tvbank.coding.faults import fault
from tvbank.coding.sections import (
    MASK_ENCODINGS,
    VALUE_ENCODINGS,
    bytes_of_bits,
    mask_parameter_allowed,
    mask_section_bits,
    value_encoding_allowed,
    value_parameter_allowed,
    value_section_bytes,
)
from tvbank.errors import UsageError

if TYPE_CHECKING:
    from typing_extensions import Buffer

FRAME_VERSION: Final = 1
HEADER_BYTES: Final = 24
#: Longest chunk that a frame can hold.
MAX_ENTRIES: Final = 1 << 24
#: Element types by id.
ELEMENTS: Final = ("float32", "int32")

_FIELDS: Final = struct.Struct("<BBBBHHIIII")


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """What the header of a frame says.

    Attributes:
        element: "float32" or "int32".
        mask: name of the mask encoding.
        values: name of the value encoding.
        mask_parameter: its meaning depends on the mask encoding.
        value_parameter: its meaning depends on the value encoding.
        entries: length of the chunk, 1 .. 2^24.
        extent: position of the last non-zero + 1; 0 if there is none.
        nonzeros: number of entries whose 32-bit pattern is not zero.
        mask_bytes: length of the mask section in bytes.
    """

    element: str
    mask: str
    values: str
    mask_parameter: int
    value_parameter: int
    entries: int
    extent: int
    nonzeros: int
    mask_bytes: int

    @property
    def dtype(self) -> np.dtype[np.float32] | np.dtype[np.int32]:
        """The numpy element type of the chunk."""
        return np.dtype(np.float32) if self.element == "float32" else np.dtype(np.int32)

    @property
    def value_bytes(self) -> int | None:
        """Length of the value section in bytes; None if only decoding it tells (``rice``)."""
        return value_section_bytes(self.values, self.value_parameter, self.nonzeros)

    def to_bytes(self) -> bytes:
        """The 24 bytes of this header."""
        return _FIELDS.pack(
            FRAME_VERSION,
            ELEMENTS.index(self.element),
            MASK_ENCODINGS.index(self.mask),
            VALUE_ENCODINGS.index(self.values),
            self.mask_parameter,
            self.value_parameter,
            self.entries,
            self.extent,
            self.nonzeros,
            self.mask_bytes,
        )


def read_header(buffer: Buffer, entries: int | None = None) -> FrameHeader:
    """Parse and check the header of a frame; what follows the first 24 bytes is not looked at.

    Args:
        buffer: a frame, or at least its first 24 bytes.
        entries: the length of chunk that the caller expects, if it knows.

    Raises:
        FrameError: for every violation that the header alone shows, from ``frame-truncated`` to
            a ``mask-section`` of the wrong size.
    """
    view = byte_view(buffer)
    if len(view) < HEADER_BYTES:
        raise fault("frame-truncated", f"{len(view)} bytes, and the header alone has 24")
    version, element, mask, values, *numbers = _FIELDS.unpack_from(view)
    if version != FRAME_VERSION:
        raise fault("frame-version", f"version {version}, this tvbank reads version 1")
    if element >= len(ELEMENTS):
        raise fault("element-type", f"unknown element type {element}")
    if mask >= len(MASK_ENCODINGS):
        raise fault("mask-encoding", f"unknown mask encoding {mask}")
    if values >= len(VALUE_ENCODINGS):
        raise fault("value-encoding", f"unknown value encoding {values}")
    header = FrameHeader(ELEMENTS[element], MASK_ENCODINGS[mask], VALUE_ENCODINGS[values], *numbers)
    _check_values(header)
    _check_counts(header)
    if entries is not None and header.entries != entries:
        raise fault("entries-mismatch", f"{header.entries} entries where {entries} belong")
    _check_parameters(header)
    _check_mask_bytes(header)
    return header


def byte_view(buffer: Buffer) -> memoryview:
    """The bytes of any contiguous buffer, without copying them.

    Raises:
        UsageError: if the object is no buffer or not contiguous.
    """
    try:
        view = memoryview(buffer)
        return view.cast("B") if view.nbytes else memoryview(b"")
    except TypeError as error:
        raise UsageError(f"a frame must be a contiguous buffer of bytes: {error}") from None


def _check_values(header: FrameHeader) -> None:
    if not value_encoding_allowed(header.values, header.element):
        raise fault("value-encoding", f"'{header.values}' is not for {header.element} chunks")
    if (header.values == "none") != (header.mask == "empty"):
        raise fault("value-encoding", f"values '{header.values}' with mask '{header.mask}'")


def _check_counts(header: FrameHeader) -> None:
    n, e, m = header.entries, header.extent, header.nonzeros
    if not 1 <= n <= MAX_ENTRIES:
        raise fault("count", f"{n} entries, a chunk has 1 to {MAX_ENTRIES}")
    if e > n or m > e:
        raise fault("count", f"{m} non-zeros in an extent of {e} in {n} entries")
    if (m == 0) != (header.mask == "empty") or (m == 0) != (e == 0):
        raise fault("count", f"{m} non-zeros in an extent of {e} with mask '{header.mask}'")
    if header.mask == "full" and m != e:
        raise fault("count", f"{m} non-zeros in an extent of {e} with mask 'full'")


def _check_parameters(header: FrameHeader) -> None:
    if not mask_parameter_allowed(header.mask, header.mask_parameter, header.extent):
        raise fault("mask-parameter", f"{header.mask_parameter} with mask '{header.mask}'")
    if not value_parameter_allowed(header.values, header.value_parameter):
        raise fault("value-parameter", f"{header.value_parameter} with values '{header.values}'")


def _check_mask_bytes(header: FrameHeader) -> None:
    bits = mask_section_bits(header.mask, header.mask_parameter, header.extent, header.nonzeros)
    if bits is not None and header.mask_bytes != bytes_of_bits(bits):
        raise fault(
            "mask-section",
            f"{header.mask_bytes} bytes declared, mask '{header.mask}' takes {bytes_of_bits(bits)}",
        )
