"""The tables that the fused loops read, int64: one row a frame, one row a place to write to.

Frames, [frames, 10] — where a frame's sections are, and how they are encoded:

| column            | what it holds                                                |
|-------------------|--------------------------------------------------------------|
| MASK, VALUES      | ids of the encodings                                         |
| MASK_PARAMETER, … | the parameters in the frame's header                         |
| EXTENT, NONZEROS  | as in the header                                             |
| MASK_AT, VALUES_AT | addresses of the sections                                   |
| MASK_BYTES, …     | their lengths                                                |

The bytes stay where they are as long as the table is used, and behind each section at least
``TAIL_BYTES`` more can be read.

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

from typing import Final

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
FRAME_COLUMNS: Final = 10

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
#: What a counter of parts is set to when there is no point in going on.
NO_MORE: Final = 1 << 40

#: Bytes behind a section that a load may touch.
TAIL_BYTES: Final = 8
