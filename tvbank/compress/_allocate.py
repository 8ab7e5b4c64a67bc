"""Sharing bytes among units: the least harm in sum, at one price of a byte for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from tvbank.compress._candidates import Candidate, Kept, entries_of
from tvbank.compress._difference import Difference
from tvbank.compress._pairs import Pairs

#: Prices that are tried with exact sizes.
_ROUNDS: Final = 12
#: Of the logarithm of the price of a byte.
_CHEAP, _DEAR = -200.0, 200.0
#: Steps of bisections: of the price, of a position.
_STEPS, _CUTS = 50, 14


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


def allocate(units: Sequence[Candidate], allowance: Allowance, pairs: Pairs) -> dict[str, Kept]:
    """Choose for every unit.

    Args:
        units: with their choices.
        allowance: bytes for all frames.
        pairs: measures them.

    Returns:
        What to keep, by the unit's name; its frames take at most ``allowance.most`` bytes.
    """
    aim = middle = (allowance.most + allowance.least) / 2
    low, high = _CHEAP, _DEAR
    below, below_bytes = [0] * len(units), [0] * len(units)
    above: list[int] | None = None
    above_bytes: list[int] = []
    for _ in range(_ROUNDS):
        price = _price_for(units, aim)
        if not low < price < high:
            price = (low + high) / 2
        chosen = _choose(units, price)
        exact = [_measure(unit, choice, pairs) for unit, choice in zip(units, chosen, strict=True)]
        if sum(exact) > allowance.most:
            low, above, above_bytes = price, chosen, exact
        else:
            high, below, below_bytes = price, chosen, exact
            if sum(exact) >= allowance.least:
                break
        aim *= middle / max(sum(exact), 1)
    kept = {unit.name: unit.keep(choice) for unit, choice in zip(units, below, strict=True)}
    if above is not None and sum(below_bytes) < allowance.least:
        _fill(units, kept, below_bytes, above, above_bytes, allowance, pairs)
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
        part, size = _part(unit, above[number], room, pairs)
        if size > sizes[number]:
            kept[unit.name], sizes[number] = part, size
        return


def _part(unit: Candidate, above: int, room: int, pairs: Pairs) -> tuple[Kept, int]:
    """As much of a choice as fits: fewer of its bins, and one bin more up to some position.

    Args:
        unit: the unit.
        above: a choice that does not fit.
        room: bytes for the unit.
        pairs: measures.

    Returns:
        What to keep, and its bytes.
    """
    whole = unit.keep(above)
    bins = unit.bins(above)
    threshold = int(unit.choices.thresholds[above])

    def first(count: int) -> NDArray[np.float32]:
        values = np.zeros_like(whole.values)
        values[bins[:count]] = whole.values[bins[:count]]
        return values

    def measure(part: Kept) -> int:
        return _bytes(unit, part, pairs)

    # Sizes grow with what is kept, but for a few bytes, which are measured all the same.
    best, best_bytes = replace(whole, values=first(0)), 0
    low, high = 0, threshold
    while high - low > 1:
        middle = (low + high) // 2
        part = replace(whole, values=first(middle))
        size = measure(part)
        low, high = (middle, high) if size <= room else (low, middle)
        if best_bytes < size <= room:
            best, best_bytes = part, size
    smaller, more = best.values, first(low + 1)
    start, stop = 0, unit.size
    for _ in range(_CUTS):
        cut = (start + stop) // 2
        part = replace(whole, values=smaller, cut=cut, more=more)
        size = measure(part)
        start, stop = (cut, stop) if size <= room else (start, cut)
        if best_bytes < size <= room:
            best, best_bytes = part, size
    return best, best_bytes


def _bytes(unit: Candidate, kept: Kept, pairs: Pairs) -> int:
    delta = Difference(unit.name, *pairs.read(unit.name))
    return pairs.frame_bytes(unit.name, entries_of(delta, kept))
