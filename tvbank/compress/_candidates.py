"""One unit before a budget: what can be kept of it, at what bytes and what harm; and what was."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from tvbank.compress._choices import Choices, list_choices
from tvbank.compress._compressor import Entries
from tvbank.compress._difference import Difference
from tvbank.compress._draw import Draw, draw, row_width
from tvbank.compress._magnitudes import Magnitudes, count_magnitudes
from tvbank.compress._pairs import PairedUnit, Pairs
from tvbank.compress._rate import Rate

#: The harm of losing a unit whole, as a power of its squared norm: 1 would be the plain squared
#: error, 0 the same for every unit. Chosen as the numbers of ``_choices.py`` are.
_UNIT_POWER: Final = 0.5


@final
@dataclass(frozen=True)
class Kept:
    """What is kept of a unit.

    Attributes:
        width: entries of a row.
        how: its entries are drawn; None if nothing is kept.
    """

    width: int
    how: Draw | None


@final
@dataclass(eq=False)
class Candidate:
    """A unit and its choices.

    Attributes:
        name: of the unit.
        width: entries of a row.
        spread: its magnitudes in bins.
        choices: what can be kept.
        weight: the harm of keeping nothing.
        sizes: float64 [c], predicted bytes of each choice.
        measured: exact bytes of choices, as far as they are known.
    """

    name: str
    width: int
    spread: Magnitudes
    choices: Choices
    weight: float
    sizes: NDArray[np.float64]
    measured: dict[int, int] = field(default_factory=lambda: {0: 0})

    def keep(self, choice: int) -> Kept:
        """What a choice comes to."""
        levels = int(self.choices.levels[choice])
        step, size = float(self.choices.steps[choice]), float(self.choices.sizes[choice])
        return Kept(self.width, Draw(step, levels, size) if levels else None)


def survey(pairs: Pairs, unit: PairedUnit) -> Candidate:
    """Read a unit, count its entries, and ask the bank's encoder what a few densities cost.

    Raises:
        NonFiniteError: an entry is not finite.
    """
    base, tuned = pairs.read(unit.name)
    delta = Difference(unit.name, base, tuned)
    width = row_width(unit.shape)
    spread = count_magnitudes(delta, pairs.each)
    choices = list_choices(spread)

    def ask(step: float) -> int:
        return pairs.frame_bytes(unit.name, entries_of(delta, Kept(width, Draw(step, 1, 1.0))))

    sizes = Rate(delta.size, choices, ask).predict(choices)
    weight = spread.energy**_UNIT_POWER
    return Candidate(unit.name, width, spread, choices, weight, sizes)


def entries_of(delta: Difference, kept: Kept) -> Entries:
    """What is kept of a unit, piece by piece."""

    def entries(start: int, stop: int) -> NDArray[np.float32]:
        if kept.how is None or start == stop:
            return np.zeros(stop - start, np.float32)
        return draw(delta, kept.width, kept.how, start, stop)

    return entries
