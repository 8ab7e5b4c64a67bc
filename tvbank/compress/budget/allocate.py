"""Sharing bytes among units: the least harm in sum, at one price of a byte for all of them.

Sizes are predicted first, then measured. What is left of the allowance is filled exactly, unit by
unit, from what fits towards what does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np

from tvbank.compress.budget.candidates import Candidate, Kept, entries_of, of_each
from tvbank.compress.budget.choices import draw_with, weigh
from tvbank.compress.lossy import Difference
from tvbank.compress.protocol import PairedUnit, Pairs

#: Prices that are tried with exact sizes.
ROUNDS: Final = 12
#: The logarithm of the price of a byte lies between these.
_CHEAP, _DEAR = -200.0, 200.0
#: Steps of the bisection of a price.
_STEPS = 30
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
        exact = list(_measure(units, chosen, pairs, advance))
        if sum(exact) > allowance.most:
            low, above, above_bytes = price, chosen, exact
        else:
            high, below, below_bytes = price, chosen, exact
            if sum(exact) >= allowance.least:
                break
        aim *= middle / max(sum(exact), 1)
    kept = _keep(units, below)
    if above is not None and sum(below_bytes) < allowance.least:
        kept = fill(units, kept, below_bytes, _keep(units, above), above_bytes, allowance, pairs)
    return {unit.name: each for unit, each in zip(units, kept, strict=True)}


def fill(
    units: Sequence[Candidate],
    below: Sequence[Kept],
    below_bytes: Sequence[int],
    above: Sequence[Kept],
    above_bytes: Sequence[int],
    allowance: Allowance,
    pairs: Pairs,
) -> list[Kept]:
    """Go from what fits towards what does not, unit by unit; those that do not fit, in part.

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
        allowed = allowance.most - sum(sizes) + sizes[number]
        if above_bytes[number] <= sizes[number]:
            continue
        if above_bytes[number] <= allowed:
            kept[number], sizes[number] = above[number], above_bytes[number]
            continue
        part, size = _part(unit, above[number], allowed, pairs)
        if unit.products is not None:
            part, size = _better(unit, part, size, kept[number], allowed)
        if part is not None and size > sizes[number]:
            kept[number], sizes[number] = part, size
        if sum(sizes) >= allowance.least:
            break
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
    return [int(np.argmin(u.weight * u.harm + byte * u.sizes)) for u in units]


def _keep(units: Sequence[Candidate], chosen: Sequence[int]) -> list[Kept]:
    return [unit.keep(choice) for unit, choice in zip(units, chosen, strict=True)]


def _measure(
    units: Sequence[Candidate], chosen: Sequence[int], pairs: Pairs, advance: Callable[[], None]
) -> Iterator[int]:
    """Exact bytes of every unit's frames."""
    unknown = {
        unit.name: choice
        for unit, choice in zip(units, chosen, strict=True)
        if choice not in unit.measured
    }
    by_name = {unit.name: unit for unit in units}

    def price(view: Pairs, unit: PairedUnit, delta: Difference) -> int:
        kept = by_name[unit.name].keep(unknown[unit.name])
        if kept.option is not None:
            return kept.option.size
        return view.frame_bytes(unit.name, entries_of(delta, kept))

    paired = [unit for unit in pairs.units if unit.name in unknown]
    found = dict(zip((unit.name for unit in paired), of_each(pairs, paired, price), strict=True))
    for unit, choice in zip(units, chosen, strict=True):
        yield unit.measured.setdefault(choice, found.get(unit.name, 0))
        advance()


def _part(unit: Candidate, above: Kept, allowed: int, pairs: Pairs) -> tuple[Kept | None, int]:
    """As much as fits of something that does not: the same, with a larger step.

    Args:
        unit: the unit.
        above: what does not fit.
        allowed: bytes for the unit.
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
        low, high = (low, middle) if size <= allowed else (middle, high)
        if best_bytes < size <= allowed:
            best, best_bytes = kept, size
    return best, best_bytes


def _better(
    unit: Candidate, part: Kept | None, size: int, below: Kept, allowed: int
) -> tuple[Kept | None, int]:
    """Entries in part, or the product that fits, if one of them loses less than what fits anyway.

    Args:
        unit: which may be a product.
        part: of its entries, if any of them fit.
        size: bytes of that.
        below: what fits anyway.
        allowed: bytes for the unit.
    """
    best: tuple[Kept | None, int] = (None, 0)
    found = _lost(unit, below)
    option = None if unit.products is None else unit.products.fit(allowed)
    product = (None, 0) if option is None else (Kept(unit.rows, None, option), option.size)
    for kept, taken in ((part, size), product):
        if kept is not None and _lost(unit, kept) < found:
            best, found = (kept, taken), _lost(unit, kept)
    return best


def _lost(unit: Candidate, kept: Kept) -> float:
    """What is lost of the sum of squares, as a share."""
    if kept.option is not None:
        return kept.option.lost
    if (how := kept.how) is None:
        return 1.0
    return float(weigh(unit.spreads[how.power], how.levels, np.array([how.step])).lost[0])
