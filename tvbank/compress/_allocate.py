"""Sharing bytes among units: the least harm in sum, at one price of a byte for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from tvbank.compress._candidates import Candidate, Kept
from tvbank.compress._fill import Allowance, exact_bytes, fill
from tvbank.compress._pairs import Pairs

#: Prices that are tried with exact sizes.
ROUNDS: Final = 12
#: Of the logarithm of the price of a byte.
_CHEAP, _DEAR = -200.0, 200.0
#: Steps of the bisection of a price.
_STEPS = 50


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
    kept = _keep(units, below)
    if above is not None and sum(below_bytes) < allowance.least:
        kept = fill(units, kept, below_bytes, _keep(units, above), above_bytes, allowance, pairs)
    return {unit.name: each for unit, each in zip(units, kept, strict=True)}


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


def _keep(units: Sequence[Candidate], chosen: Sequence[int]) -> list[Kept]:
    return [unit.keep(choice) for unit, choice in zip(units, chosen, strict=True)]


def _measure(unit: Candidate, choice: int, pairs: Pairs) -> int:
    """Exact bytes of a unit's frames."""
    if choice not in unit.measured:
        unit.measured[choice] = exact_bytes(unit.name, unit.keep(choice), pairs)
    return unit.measured[choice]
