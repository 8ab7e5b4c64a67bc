"""The tables that loops read, int64: one row a frame, one row a place to write to.

Frames, [frames, 13] — where a frame's sections are, and how they are encoded:

| column            | what it holds                                                |
|-------------------|--------------------------------------------------------------|
| MASK, VALUES      | ids of the encodings                                         |
| MASK_PARAMETER, … | the parameters in the frame's header                         |
| EXTENT, NONZEROS  | as in the header                                             |
| MASK_AT, VALUES_AT | addresses of the sections                                   |
| MASK_BYTES, …     | their lengths                                                |
| UPPER_AT          | where the upper 16 bits of the base's first weight lie, or 0 |
| SHIFT             | logarithm of the bytes of a weight of the base               |
| POSITIONS_AT      | where the positions have been decoded to                     |

The bytes stay where they are as long as the table is used, and after each section at least
``TAIL_BYTES`` more can be read. ``read_headers`` makes the rows; ``batch_of`` also copies frames
from anywhere into one piece of memory.

Places, [places, 5] — where the entries of a chunk go, and where what they replace is kept:

| column     | what it holds                                                           |
|------------|-------------------------------------------------------------------------|
| WEIGHTS_AT | address of the chunk's first weight                                     |
| KIND       | element type of the weights, an index into ``elements.KINDS``           |
| SLOT       | index of the chunk's first position in the record                       |
| OLD        | offset in bytes of the chunk's first old weight in the record           |
| ORDER      | ascends with the rows; equal for the same chunk of the same parameter   |

Parts, [parts, 4] — shares of the work, which the threads that a loop runs on take one by one:

| column              | what it holds                                                        |
|---------------------|----------------------------------------------------------------------|
| FIRST, LAST         | rows of the places, the last excluded                                |
| FIRST_OLD, LAST_OLD | rows of the previous record's places that are put back on the way    |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.decoding.memory import load_8, load_16, load_32
from tvbank.coding.header import (
    ELEMENTS,
    HEADER_BYTES,
    MASK_ENCODINGS,
    VALUE_ENCODINGS,
    FrameHeader,
    header_fault,
)
from tvbank.coding.kernel import kernel

MASK: Final = 0
VALUES: Final = 1
MASK_PARAMETER: Final = 2
VALUE_PARAMETER: Final = 3
EXTENT: Final = 4
NONZEROS: Final = 5
MASK_AT: Final = 6
MASK_BYTES: Final = 7
VALUES_AT: Final = 8
VALUE_BYTES: Final = 9
UPPER_AT: Final = 10
SHIFT: Final = 11
POSITIONS_AT: Final = 12
FRAME_COLUMNS: Final = 13
#: The first of the columns that say what a frame is given; those three lie side by side.
GIVEN: Final = UPPER_AT

WEIGHTS_AT: Final = 0
KIND: Final = 1
SLOT: Final = 2
OLD: Final = 3
ORDER: Final = 4
PLACE_COLUMNS: Final = 5
#: Greater than every ``ORDER``.
LAST_ORDER: Final = 1 << 62

FIRST: Final = 0
LAST: Final = 1
FIRST_OLD: Final = 2
LAST_OLD: Final = 3
PART_COLUMNS: Final = 4
#: A counter of parts is set to this to stop all threads: no part has such a number.
NO_MORE: Final = 1 << 40

#: Bytes after a section that a load may touch.
TAIL_BYTES: Final = 8

_U = np.uint64
_FLOAT32: Final = ELEMENTS.index("float32")
_header_fault = kernel(header_fault)


@kernel
def read_headers(
    shard: Any, starts: Any, stops: Any, entries: Any, is_float: Any, table: Any
) -> Any:
    """Read and check the headers of frames.

    Args:
        shard: address of the bytes that the frames lie in.
        starts: int64 [frames], where each begins in the shard.
        stops: int64 [frames], where each ends.
        entries: length of a chunk.
        is_float: whether the elements are float32; else they are int32.
        table: int64 [frames, ``FRAME_COLUMNS``], overwritten.

    Returns:
        Whether every header is valid up to its parameters (``header_fault``), of this element
        type, and its mask section ends within the frame. The decoder compares the section's size.
    """
    for row in range(len(starts)):
        size = stops[row] - starts[row]
        if size < HEADER_BYTES:
            return False
        at = shard + _U(starts[row])
        element = np.int64(load_8(at + _U(1)))
        mask, values = np.int64(load_8(at + _U(2))), np.int64(load_8(at + _U(3)))
        parameter, second = np.int64(load_16(at + _U(4))), np.int64(load_16(at + _U(6)))
        n, e = np.int64(load_32(at + _U(8))), np.int64(load_32(at + _U(12)))
        m, mask_bytes = np.int64(load_32(at + _U(16))), np.int64(load_32(at + _U(20)))
        version = np.int64(load_8(at))
        if _header_fault(version, element, mask, values, parameter, second, n, e, m, entries):
            return False
        if (element == _FLOAT32) != is_float or HEADER_BYTES + mask_bytes > size:
            return False
        mask_at = np.int64(at) + HEADER_BYTES
        table[row, MASK], table[row, VALUES] = mask, values
        table[row, MASK_PARAMETER], table[row, VALUE_PARAMETER] = parameter, second
        table[row, EXTENT], table[row, NONZEROS] = e, m
        table[row, MASK_AT], table[row, MASK_BYTES] = mask_at, mask_bytes
        table[row, VALUES_AT] = mask_at + mask_bytes
        table[row, VALUE_BYTES] = size - HEADER_BYTES - mask_bytes
        table[row, UPPER_AT] = table[row, SHIFT] = table[row, POSITIONS_AT] = 0
    return True


def frame_row(header: FrameHeader, at: int, size: int) -> tuple[int, ...]:
    """The row of one frame.

    Args:
        header: what ``read_header`` returned for it.
        at: its address.
        size: its bytes, of which the mask section takes no more than there are.
    """
    mask_at = at + HEADER_BYTES
    values_at = mask_at + header.mask_bytes
    return (
        MASK_ENCODINGS.index(header.mask), VALUE_ENCODINGS.index(header.values),
        header.mask_parameter, header.value_parameter, header.extent, header.nonzeros,
        mask_at, header.mask_bytes, values_at, at + size - values_at, 0, 0, 0,
    )  # fmt: skip


@final
@dataclass(frozen=True)
class Batch:
    """Frames that lie one after the other, with their table.

    Attributes:
        table: int64 [frames, ``FRAME_COLUMNS``].
        memory: what the table's addresses lead into; keep it as long as the table is used.
    """

    table: NDArray[np.int64]
    memory: NDArray[np.uint8]

    @property
    def extents(self) -> NDArray[np.int64]:
        """Entries of each chunk up to its last non-zero, int64 [frames]."""
        return self.table[:, EXTENT]

    @property
    def nonzeros(self) -> NDArray[np.int64]:
        """Non-zeros of each frame, int64 [frames]."""
        return self.table[:, NONZEROS]


def batch_of(frames: Sequence[bytes], entries: int, is_float: bool) -> Batch | None:
    """Copy frames one after the other, and read their headers.

    Args:
        frames: without their checksums.
        entries: length of a chunk.
        is_float: whether the elements are float32; else they are int32.

    Returns:
        ``None`` if ``read_headers`` refuses one: decoding them one by one says which, and why.
    """
    memory = np.frombuffer(b"".join((*frames, bytes(TAIL_BYTES))), np.uint8)
    sizes = np.array([len(frame) for frame in frames], np.int64)
    stops = np.cumsum(sizes)
    table = np.empty((len(frames), FRAME_COLUMNS), np.int64)
    valid = read_headers(address_of(memory), stops - sizes, stops, entries, is_float, table)
    return Batch(table, memory) if valid else None


def give_base(
    table: NDArray[np.int64], at: NDArray[np.int64] | int, item_bytes: NDArray[np.int64] | int
) -> None:
    """Tell rows of a table where their chunks of the base lie.

    Args:
        table: int64 [rows, ``FRAME_COLUMNS``].
        at: address of each chunk's first weight; at least ``EXTENT`` weights lie there, as long as
            the table is used.
        item_bytes: of a weight, 2 or 4.
    """
    table[:, UPPER_AT] = at + np.asarray(item_bytes) - 2
    table[:, SHIFT] = np.asarray(item_bytes) // 2


def address_of(array: NDArray[np.generic]) -> np.uint64:
    """Where an array's memory begins; keep the array as long as the address is used."""
    return np.uint64(array.__array_interface__["data"][0])
