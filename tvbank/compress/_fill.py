"""Using up an allowance of bytes exactly: from what fits towards what does not, unit by unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, final

from tvbank.compress._candidates import Candidate, Kept, entries_of
from tvbank.compress._choices import draw_with
from tvbank.compress._difference import Difference
from tvbank.compress._pairs import Pairs

#: Steps of the bisection of one unit.
_CUTS: Final = 20


@final
@dataclass(frozen=True)
class Allowance:
    """Bytes for all frames: at most ``most``; at least ``least`` if there is so much to keep."""

    least: int
    most: int

    @staticmethod
    def under(most: int) -> Allowance:
        """Within 1.5 % below a number of bytes."""
        return Allowance(int(0.985 * most), most)


def exact_bytes(name: str, kept: Kept, pairs: Pairs) -> int:
    """Bytes of a unit's frames in the bank."""
    return pairs.frame_bytes(name, entries_of(Difference(name, *pairs.read(name)), kept))


def fill(
    units: Sequence[Candidate],
    below: Sequence[Kept],
    below_bytes: Sequence[int],
    above: Sequence[Kept],
    above_bytes: Sequence[int],
    allowance: Allowance,
    pairs: Pairs,
) -> list[Kept]:
    """Go from what fits towards what does not, unit by unit; units that do not fit whole, in part.

    Args:
        units: all of them.
        below: what fits, of each unit.
        below_bytes: of each, exact.
        above: what does not fit.
        above_bytes: of each, exact.
        allowance: of which at least the lower end is wanted.
        pairs: measures.
    """
    kept, sizes = list(below), list(below_bytes)
    for number, unit in enumerate(units):
        room = allowance.most - sum(sizes) + sizes[number]
        if above_bytes[number] <= sizes[number]:
            continue
        if above_bytes[number] <= room:
            kept[number], sizes[number] = above[number], above_bytes[number]
            continue
        part, size = _part(unit, above[number], room, pairs)
        if part is not None and size > sizes[number]:
            kept[number], sizes[number] = part, size
        if sum(sizes) >= allowance.least:
            break
    return kept


def _part(unit: Candidate, above: Kept, room: int, pairs: Pairs) -> tuple[Kept | None, int]:
    """As much as fits of something that does not: the same, with a larger step.

    Args:
        unit: the unit.
        above: what does not fit.
        room: bytes for the unit.
        pairs: measures.

    Returns:
        What to keep, if anything of it fits, and its bytes.
    """
    how = above.how
    if how is None:
        return None, 0
    spread = unit.spreads[how.power]
    lengthened = how.size / draw_with(spread, how.levels, how.step).size
    best, best_bytes = None, 0
    low, high = math.log2(how.step), math.log2(unit.choices.steps.max()) + 1
    for _ in range(_CUTS):
        middle = (low + high) / 2
        drawn = draw_with(spread, how.levels, 2**middle)
        kept = replace(above, how=replace(drawn, size=drawn.size * lengthened, turn=how.turn))
        size = exact_bytes(unit.name, kept, pairs)
        low, high = (low, middle) if size <= room else (middle, high)
        if best_bytes < size <= room:
            best, best_bytes = kept, size
    return best, best_bytes
