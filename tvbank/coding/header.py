"""The 24 bytes at the head of every frame: parsed, checked and written, without numba.

| offset | size | type | field                                                       |
|--------|------|------|-------------------------------------------------------------|
| 0      | 1    | u8   | frame version: 1, or 2 if an encoding is one of version 2   |
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
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tvbank.coding.encoding import bytes_of_bits
from tvbank.coding.faults import (
    COUNT,
    ELEMENT_TYPE,
    ENTRIES_MISMATCH,
    FRAME_TRUNCATED,
    MASK_ENCODING,
    MASK_PARAMETER,
    MASK_SECTION,
    VALID,
    VALUE_ENCODING,
    VALUE_PARAMETER,
    fault,
)
from tvbank.coding.faults import FRAME_VERSION as FRAME_VERSION_REFUSED
from tvbank.coding.masks import MASKS
from tvbank.coding.values import VALUES
from tvbank.errors import UsageError

if TYPE_CHECKING:
    from typing_extensions import Buffer

#: Newest version of frames. A frame has the lowest version that has both of its encodings.
FRAME_VERSION: Final = 2
HEADER_BYTES: Final = 24
#: The features of tasks with frames of version 2, and with some that need the base.
FRAME_2: Final = "frame-2"
GIVEN_BASE: Final = "given-base"
#: Longest chunk that a frame can hold.
MAX_ENTRIES: Final = 1 << 24
#: Element types by id.
ELEMENTS: Final = ("float32", "int32")

#: Names by id, which is also the order of preference at equal bytes: the faster decoder first.
MASK_ENCODINGS: Final = tuple(mask.name for mask in MASKS)
VALUE_ENCODINGS: Final = tuple(values.name for values in VALUES)

_FIELDS: Final = struct.Struct("<BBBBHHIIII")
_EMPTY, _FULL = MASK_ENCODINGS.index("empty"), MASK_ENCODINGS.index("full")
_NONE = VALUE_ENCODINGS.index("none")
#: Encodings up to these were in version 1.
_FIRST_MASKS: Final = sum(mask.version == 1 for mask in MASKS)
_FIRST_VALUES: Final = sum(values.version == 1 for values in VALUES)
#: The rows of both tables as integers, for ``header_fault``; and which elements values are for.
_MASK_PARAMETERS: Final = tuple(tuple(mask.allowed) for mask in MASKS)
_VALUE_PARAMETERS: Final = tuple(tuple(values.allowed) for values in VALUES)
_MASK_FITS: Final = tuple(tuple(int(e in mask.elements) for e in ELEMENTS) for mask in MASKS)
_FITS: Final = tuple(tuple(int(e in values.elements) for e in ELEMENTS) for values in VALUES)


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
    def version(self) -> int:
        """The frame's version: that of its newer encoding."""
        mask, values = MASK_ENCODINGS.index(self.mask), VALUE_ENCODINGS.index(self.values)
        return max(MASKS[mask].version, VALUES[values].version)

    @property
    def features(self) -> frozenset[str]:
        """What a bank with this frame requires of its readers (spec/README.md, "Features")."""
        if self.version == 1:
            return frozenset()
        return frozenset({FRAME_2, GIVEN_BASE} if self.given_base else {FRAME_2})

    @property
    def given_base(self) -> bool:
        """Whether the base's weights are needed to decode the frame."""
        mask, values = MASK_ENCODINGS.index(self.mask), VALUE_ENCODINGS.index(self.values)
        return MASKS[mask].given_base or VALUES[values].given_base

    @property
    def value_bytes(self) -> int | None:
        """Length of the value section in bytes; None if only decoding determines it (``rice``)."""
        row = VALUES[VALUE_ENCODINGS.index(self.values)]
        bits = row.section_bits(self.value_parameter, self.extent, self.nonzeros)
        return None if bits is None else bytes_of_bits(bits)

    def to_bytes(self) -> bytes:
        """The 24 bytes of this header."""
        return _FIELDS.pack(
            self.version,
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
        raise fault(FRAME_TRUNCATED, f"{len(view)} bytes, and the header alone has 24")
    version, element, mask, values, *numbers = _FIELDS.unpack_from(view)
    parameter, second, n, extent, nonzeros, mask_bytes = numbers
    expected = -1 if entries is None else entries
    code = header_fault(
        version, element, mask, values, parameter, second, n, extent, nonzeros, expected
    )  # fmt: skip
    if code == ENTRIES_MISMATCH:
        raise fault(code, f"{n} entries where {entries} belong")
    if code:
        raise fault(code)
    bits = MASKS[mask].section_bits(parameter, extent, nonzeros)
    if bits is not None and mask_bytes != bytes_of_bits(bits):
        raise fault(MASK_SECTION)
    return FrameHeader(ELEMENTS[element], MASK_ENCODINGS[mask], VALUE_ENCODINGS[values], *numbers)


def header_fault(
    version: Any, element: Any, mask: Any, values: Any, mask_parameter: Any, value_parameter: Any,
    entries: Any, extent: Any, nonzeros: Any, expected: Any,
) -> Any:  # fmt: skip
    """The first fault of a header up to ``value-parameter``, or 0.

    ``decoding`` compiles this function for many headers at once; hence integers only.

    Args:
        version: as the other fields: as in the header.
        element: its element type.
        mask: id of the mask encoding.
        values: id of the value encoding.
        mask_parameter: any.
        value_parameter: any.
        entries: any.
        extent: any.
        nonzeros: any.
        expected: the number of entries that the caller expects, −1 for any.
    """
    newer = version == FRAME_VERSION
    if (version != 1 and not newer) or (newer and mask < _FIRST_MASKS and values < _FIRST_VALUES):
        return FRAME_VERSION_REFUSED
    if element >= len(ELEMENTS):
        return ELEMENT_TYPE
    if mask >= (len(_MASK_PARAMETERS) if newer else _FIRST_MASKS) or not _MASK_FITS[mask][element]:
        return MASK_ENCODING
    if values >= (len(_VALUE_PARAMETERS) if newer else _FIRST_VALUES) or not _FITS[values][element]:
        return VALUE_ENCODING
    if (values == _NONE) != (mask == _EMPTY):
        return VALUE_ENCODING
    if entries < 1 or entries > MAX_ENTRIES or extent > entries or nonzeros > extent:
        return COUNT
    empty = mask == _EMPTY
    if (nonzeros == 0) != empty or (extent == 0) != empty or (mask == _FULL and nonzeros != extent):
        return COUNT
    if expected >= 0 and entries != expected:
        return ENTRIES_MISMATCH
    least, most, low_byte, is_width = _MASK_PARAMETERS[mask]
    if mask_parameter < least or mask_parameter > most or mask_parameter % 256 > low_byte:
        return MASK_PARAMETER
    if is_width:
        last = extent - 1
        if last >> mask_parameter or (mask_parameter and not last >> (mask_parameter - 1)):
            return MASK_PARAMETER
    least, most, low_byte, is_width = _VALUE_PARAMETERS[values]
    if value_parameter < least or value_parameter > most:
        return VALUE_PARAMETER
    return VALID


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
