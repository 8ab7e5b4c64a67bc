"""A slow writer of ``blocks`` sections, from spec/masks.md alone; no code of another encoder."""

from __future__ import annotations

import struct
from collections.abc import Sequence

#: Phase, classes of the rows, classes of the columns; lists that are empty mean one class.
Classes = tuple[int, Sequence[int], Sequence[int]]
SINGLE: Classes = (0, (), ())

#: One turn of a state: a plain field (value, bits) or a symbol (first slot, slots).
Turn = tuple[str, int, int]


def blocks_section(
    positions: Sequence[int],
    width: int,
    phase: int,
    rows: Sequence[int],
    columns: Sequence[int],
) -> bytes:
    """The section of ascending positions in rows of ``width`` entries."""
    return encoded(turns(positions, width, phase, rows, columns))


def turns(
    positions: Sequence[int],
    width: int,
    phase: int,
    rows: Sequence[int],
    columns: Sequence[int],
) -> list[Turn]:
    """All turns in the order of decoding."""
    height = -(-(phase + positions[-1] + 1) // width)
    rows, columns = rows or [0] * height, columns or [0] * width
    row_classes, column_classes = max(rows) + 1, max(columns) + 1
    made: list[Turn] = [field(phase, 16), field(row_classes - 1, 4), field(column_classes - 1, 4)]
    for classes, count in ((rows, row_classes), (columns, column_classes)):
        if count > 1:
            made += class_turns(classes, count)
    ones = {phase + position for position in positions}
    for row_class in range(row_classes):
        for column_class in range(column_classes):
            cells = [
                row * width + column in ones
                for row in range(height)
                if rows[row] == row_class
                for column in range(width)
                if columns[column] == column_class
            ]
            made += block_turns(cells)
    return made


#: The classes of rows, and the first exponent byte of each segment.
BaseClasses = tuple[int, Sequence[int], Sequence[int]]


def base_blocks_turns(
    positions: Sequence[int], width: int, exponents: Sequence[int], classes: BaseClasses
) -> list[Turn]:
    """All turns of a ``base-blocks`` section, in the order of decoding."""
    phase, rows, bounds = classes
    extent = positions[-1] + 1
    height = -(-(phase + extent) // width)
    rows, bounds = rows or [0] * height, bounds or [0]
    count = max(rows) + 1
    made: list[Turn] = [field(phase, 16), field(count - 1, 4), field(len(bounds) - 1, 4)]
    made += [field(bound, 8) for bound in bounds[1:]]
    if count > 1:
        made += class_turns(rows, count)
    ones = set(positions)
    for row_class in range(count):
        for segment, bound in enumerate(bounds):
            stop = [*bounds, 256][segment + 1]
            made += block_turns([
                position in ones
                for position in range(extent)
                if rows[(phase + position) // width] == row_class
                and bound <= exponents[position] < stop
            ])  # fmt: skip
    return made


def base_blocks_section(
    positions: Sequence[int], width: int, exponents: Sequence[int], classes: BaseClasses = SINGLE
) -> bytes:
    """The ``base-blocks`` section of ascending positions, given the base's exponent bytes."""
    return encoded(base_blocks_turns(positions, width, exponents, classes))


def field(value: int, bits: int) -> Turn:
    return ("field", value, bits)


def class_turns(classes: Sequence[int], count: int) -> list[Turn]:
    """The slots of all classes but the last, and the class of each line."""
    slots = [max(1, classes.count(each) * 1024 // len(classes)) for each in range(count)]
    slots[slots.index(max(slots))] += 1024 - sum(slots)
    starts = [sum(slots[:each]) for each in range(count)]
    return [field(size, 10) for size in slots[:-1]] + [
        ("symbol", starts[each], slots[each]) for each in classes
    ]


def block_turns(cells: list[bool]) -> list[Turn]:
    """The number of ones, and the run of zeros before each."""
    size, count = len(cells), sum(cells)
    width = size.bit_length()
    made = [field(count % 65536, min(width, 16))]
    if width > 16:
        made.append(field(count >> 16, width - 16))
    if not count:
        return made
    slots, unit = run_slots(count, size)
    starts = [sum(slots[:run]) for run in range(len(slots))]
    escape = len(slots) - 1
    zeros = 0
    for one in cells:
        if not one:
            zeros += 1
            continue
        run = zeros >> unit
        while run >= escape:
            made.append(("symbol", starts[escape], slots[escape]))
            run -= escape
        made.append(("symbol", starts[run], slots[run]))
        if unit:
            made.append(field(zeros % (1 << unit), unit))
        zeros = 0
    return made


def run_slots(count: int, size: int) -> tuple[list[int], int]:
    """Slots of every run length and, last, of the escape; and the bits below the symbol."""
    share = count * 2**32 // size
    dense = share > 2**31
    if dense:
        share = 2**32 - share
    octave = unit = 0
    while share <= 2**30 and octave < (7 if dense else 3):
        share, octave = share * 2, octave + 1
    while share <= 2**30 and unit < 16 and not dense:
        share, unit = share * 2, unit + 1
    step = max(0, (share - 1 >> 27) - 8)
    rounded = (17 + 2 * step) << 10 >> octave
    stay = rounded if dense else 65536 - rounded
    slots: list[int] = []
    left, tail = 1024, 1024 * 65536
    while True:
        tail = tail * stay >> 16
        rest = tail + 32768 >> 16
        if len(slots) == 63 or rest == left or rest == 0:
            return [*slots, left], unit
        slots.append(left - rest)
        left = rest


def encoded(made: Sequence[Turn], first: Sequence[int] = (65536,) * 4) -> bytes:
    """States and words of these turns; a section whose states start elsewhere is invalid."""
    states = [first[(number - len(made)) % 4] for number in range(4)]
    words: list[int] = []
    for number in reversed(range(len(made))):
        kind, value, size = made[number]
        state = states[number % 4]
        limit = 1 << 32 - size if kind == "field" else size << 22
        if state >= limit:
            words.append(state & 0xFFFF)
            state >>= 16
        if kind == "field":
            states[number % 4] = (state << size) + value
        else:
            states[number % 4] = (state // size << 10) + state % size + value
    return struct.pack(f"<4I{len(words)}H", *states, *reversed(words))
