"""Sharing bytes among units: the least harm in sum, at one price of a byte for all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from tvbank.compress._candidates import Candidate, Kept, entries_of
from tvbank.compress._choices import draw_with
from tvbank.compress._difference import Difference
from tvbank.compress._pairs import Pairs

#: Prices that are tried with exact sizes.
ROUNDS: Final = 12
#: Of the logarithm of the price of a byte.
_CHEAP, _DEAR = -200.0, 200.0
#: Steps of bisections: of the price, of one unit.
_STEPS, _CUTS = 50, 20


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


def allocate(
    units: Sequence[Candidate],
    allowance: Allowance,
    pairs: Pairs,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Kept]:
    """Choose for every unit.

    Args:
        units: with their choices.
        allowance: bytes for all frames.
        pairs: measures them.
        advance: called at every unit of each of at most ``ROUNDS`` rounds.

    Returns:
        What to keep, by the unit's name; its frames take at most ``allowance.most`` bytes.
    """
    aim = middle = (allowance.most + allowance.least) / 2
    low, high = _CHEAP, _DEAR
    below, below_bytes = [0] * len(units), [0] * len(units)
    above: list[int] | None = None
    above_bytes: list[int] = []
    for _ in range(ROUNDS):
        price = _price_for(units, aim)
        if not low < price < high:
            price = (low + high) / 2
        chosen = _choose(units, price)
        exact = []
        for unit, choice in zip(units, chosen, strict=True):
            exact.append(_measure(unit, choice, pairs))
            advance()
        if sum(exact) > allowance.most:
            low, above, above_bytes = price, chosen, exact
        else:
            high, below, below_bytes = price, chosen, exact
            if sum(exact) >= allowance.least:
                break
        aim *= middle / max(sum(exact), 1)
    kept = {unit.name: unit.keep(choice) for unit, choice in zip(units, below, strict=True)}
    if above is not None and sum(below_bytes) < allowance.least:
        _fill(units, kept, below, below_bytes, above, above_bytes, allowance, pairs)
    return kept


def _price_for(units: Sequence[Candidate], aim: float) -> float:
    """The logarithm of the least price at which all predicted bytes are at most ``aim``."""
    low, high = _CHEAP, _DEAR
    for _ in range(_STEPS):
        middle = (low + high) / 2
        chosen = _choose(units, middle)
        size = sum(float(u.sizes[choice]) for u, choice in zip(units, chosen, strict=True))
        low, high = (middle, high) if size > aim else (low, middle)
    return high


def _choose(units: Sequence[Candidate], price: float) -> list[int]:
    """The choices that are best at a price of a byte, whose logarithm is given."""
    byte = np.exp2(price)
    return [int(np.argmin(u.weight * u.choices.harm + byte * u.sizes)) for u in units]


def _measure(unit: Candidate, choice: int, pairs: Pairs) -> int:
    """Exact bytes of a unit's frames."""
    if choice not in unit.measured:
        unit.measured[choice] = _bytes(unit, unit.keep(choice), pairs)
    return unit.measured[choice]


def _fill(
    units: Sequence[Candidate],
    kept: dict[str, Kept],
    below: Sequence[int],
    sizes: list[int],
    above: Sequence[int],
    above_bytes: Sequence[int],
    allowance: Allowance,
    pairs: Pairs,
) -> None:
    """Go from what fits towards what does not, unit by unit, the last one only in part."""
    for number, unit in enumerate(units):
        room = allowance.most - sum(sizes) + sizes[number]
        if above_bytes[number] <= sizes[number]:
            continue
        if above_bytes[number] <= room:
            kept[unit.name], sizes[number] = unit.keep(above[number]), above_bytes[number]
            continue
        part, size = _part(unit, below[number], above[number], room, pairs)
        if size > sizes[number]:
            kept[unit.name], sizes[number] = part, size
        return


def _part(unit: Candidate, below: int, above: int, room: int, pairs: Pairs) -> tuple[Kept, int]:
    """As much as fits between two choices: those of the upper one, with a larger step.

    Args:
        unit: the unit.
        below: a choice that fits.
        above: one that does not.
        room: bytes for the unit.
        pairs: measures.

    Returns:
        What to keep, and its bytes.
    """
    spread = unit.spreads[int(unit.choices.powers[above])]
    levels, step = int(unit.choices.levels[above]), float(unit.choices.steps[above])
    best, best_bytes = unit.keep(below), unit.measured[below]
    low, high = math.log2(step), math.log2(unit.choices.steps.max()) + 1
    for _ in range(_CUTS):
        middle = (low + high) / 2
        kept = Kept(unit.rows, draw_with(spread, levels, 2**middle))
        size = _bytes(unit, kept, pairs)
        low, high = (low, middle) if size <= room else (middle, high)
        if best_bytes < size <= room:
            best, best_bytes = kept, size
    return best, best_bytes


def _bytes(unit: Candidate, kept: Kept, pairs: Pairs) -> int:
    delta = Difference(unit.name, *pairs.read(unit.name))
    return pairs.frame_bytes(unit.name, entries_of(delta, kept))
