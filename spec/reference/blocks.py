"""The mask encodings ``blocks`` and ``base-blocks`` (masks.md): classes of entries, and runs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from itertools import product

from .coder import SLOTS, Coder
from .invalid import require

LONGEST_RUN = 63


def decode_blocks(data: bytes, width: int, extent: int) -> list[int]:
    """Positions of the non-zeros, unsorted and unchecked but for what makes them meaningless.

    Raises:
        EndOfSection: the words end too early.
        Invalid: ``mask-section``, ``mask-parameter``, ``non-canonical`` or ``position``.
    """
    coder = Coder(data)
    phase, row_classes, column_classes = coder.field(16), coder.field(4) + 1, coder.field(4) + 1
    require(phase < width, "mask-parameter", f"phase {phase} in a row of {width}")
    rows = _read_classes(coder, row_classes, -(-(phase + extent) // width))
    columns = _read_classes(coder, column_classes, width)
    found: list[int] = []
    for lines, places in product(rows, columns):
        for cell in _read_block(coder, len(lines) * len(places)):
            row, column = divmod(cell, len(places))
            found.append(lines[row] * width + places[column] - phase)
    return _finished(coder, found)


def decode_base_blocks(data: bytes, width: int, extent: int, exponents: Sequence[int]) -> list[int]:
    """The same for ``base-blocks``, given the exponent byte of each weight of the base."""
    coder = Coder(data)
    phase, row_classes, segments = coder.field(16), coder.field(4) + 1, coder.field(4) + 1
    require(phase < width, "mask-parameter", f"phase {phase} in a row of {width}")
    bounds = read_bounds(coder, segments, "mask-parameter")
    rows = _read_classes(coder, row_classes, -(-(phase + extent) // width))
    class_of = {line: number for number, lines in enumerate(rows) for line in lines}
    strings: list[list[int]] = [[] for _ in range(row_classes * segments)]
    for position in range(extent):
        segment = bisect_right(bounds, exponents[position]) - 1
        strings[class_of[(phase + position) // width] * segments + segment].append(position)
    found = [string[cell] for string in strings for cell in _read_block(coder, len(string))]
    return sorted(_finished(coder, found))


def read_bounds(coder: Coder, segments: int, reason: str) -> list[int]:
    """The first exponent byte of each segment."""
    bounds = [0]
    for _ in range(segments - 1):
        bounds.append(coder.field(8))
        require(bounds[-1] > bounds[-2], reason, f"segments from {bounds}")
    return bounds


def _read_block(coder: Coder, cells: int) -> list[int]:
    """Which cells of a block are not zero; one that is not there at all is told by ``cells``."""
    bits = cells.bit_length()
    count = coder.field(min(bits, 16)) + (coder.field(bits - 16) << 16 if bits > 16 else 0)
    found = []
    cell = -1
    for _ in range(min(count, cells)):
        cell += 1 + _run(coder, *step_of(min(count, cells), cells))
        found.append(cell)
    fits = count <= cells and all(cell < cells for cell in found)
    coder.fits &= fits
    return [cell for cell in found if cell < cells]


def _finished(coder: Coder, found: list[int]) -> list[int]:
    """The positions, if nothing is left over and every block held what it said."""
    coder.finish()
    require(coder.fits, "position", "a block holds more than its cells")
    return found


def _read_classes(coder: Coder, count: int, lines: int) -> list[list[int]]:
    """Which rows, or columns, each class has, in ascending order."""
    classes: list[list[int]] = [[] for _ in range(count)]
    starts = [0]
    if count == 1:
        return [list(range(lines))]
    for number in range(count):
        slots = coder.field(10) if number < count - 1 else SLOTS - starts[-1]
        valid = slots > 0 and starts[-1] + slots <= SLOTS
        require(valid, "mask-parameter", f"class {number} has {slots} slots")
        starts.append(starts[-1] + slots)
    for line in range(lines):
        classes[coder.symbol(starts)].append(line)
    return classes


def _run(coder: Coder, dense: bool, step: int, octave: int, unit: int) -> int:
    """The number of zeros before the next non-zero."""
    starts = run_starts(dense, step, octave)
    zeros = 0
    while (symbol := coder.symbol(starts)) == len(starts) - 2:  # the last symbol is the escape
        zeros += symbol << unit
    return zeros + (symbol << unit) + (coder.field(unit) if unit else 0)


def step_of(count: int, cells: int) -> tuple[bool, int, int, int]:
    """Density, rounded: (whether above a half, step 0..7, octave, s)."""
    share = (count << 32) // cells
    dense = share > 2**31
    share = 2**32 - share if dense else share
    halvings = 0
    while share <= 2**30 and halvings < (7 if dense else 19):
        share *= 2
        halvings += 1
    octave = halvings if dense else min(halvings, 3)
    return dense, max(0, (share - 1) // 2**27 - 8), octave, halvings - octave


@cache
def run_starts(dense: bool, step: int, octave: int) -> list[int]:
    """First slots of run lengths 0, 1, ... and of the escape; then 1024."""
    share = (2 * step + 17) * 2 ** (10 - octave)
    stay = share if dense else 2**16 - share
    starts = [0]
    tail = SLOTS * 2**16
    while True:
        tail = tail * stay // 2**16
        start = SLOTS - (tail + 2**15) // 2**16
        if len(starts) - 1 == LONGEST_RUN or start in (starts[-1], SLOTS):
            return [*starts, SLOTS]
        starts.append(start)
