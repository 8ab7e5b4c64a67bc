"""One unit before a budget: what can be kept of it, at what bytes and what harm; and what was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from tvbank.compress._choices import Choices, list_choices
from tvbank.compress._compressor import Entries
from tvbank.compress._difference import Difference
from tvbank.compress._draw import Draw, draw
from tvbank.compress._magnitudes import Magnitudes, count_magnitudes
from tvbank.compress._pairs import PairedUnit, Pairs
from tvbank.compress._rate import Rate
from tvbank.compress._rows import HALVES, Rows, row_width, survey_rows

#: The harm of losing a unit whole, as a power of its squared norm: 1 would be the plain squared
#: error, 0 the same for every unit. Chosen as the numbers of ``_choices.py`` are.
_UNIT_POWER: Final = 0.5


@final
@dataclass(frozen=True)
class Kept:
    """What is kept of a unit.

    Attributes:
        rows: of the unit.
        how: its entries are drawn; None if nothing is kept.
    """

    rows: Rows
    how: Draw | None


@final
@dataclass(eq=False)
class Candidate:
    """A unit and its choices.

    Attributes:
        name: of the unit.
        rows: of it.
        spreads: what can be drawn of its magnitudes, in bins, by power.
        choices: what can be kept.
        weight: the harm of keeping nothing.
        sizes: float64 [c], predicted bytes of each choice.
        measured: exact bytes of choices, as far as they are known.
    """

    name: str
    rows: Rows
    spreads: Sequence[Magnitudes]
    choices: Choices
    weight: float
    sizes: NDArray[np.float64]
    measured: dict[int, int] = field(default_factory=lambda: {0: 0})

    def keep(self, choice: int) -> Kept:
        """What a choice comes to."""
        power, levels = int(self.choices.powers[choice]), int(self.choices.levels[choice])
        step, size = float(self.choices.steps[choice]), float(self.choices.sizes[choice])
        return Kept(self.rows, Draw(power, step, levels, size) if levels else None)


def survey(pairs: Pairs, unit: PairedUnit) -> Candidate:
    """Read a unit, count its entries, and ask the bank's encoder what a few densities cost.

    Raises:
        NonFiniteError: an entry is not finite.
    """
    base, tuned = pairs.read(unit.name)
    delta = Difference(unit.name, base, tuned)
    rows = survey_rows(delta, row_width(unit.shape), pairs.each)
    spreads = [count_magnitudes(delta, rows, power, pairs.each) for power in range(len(HALVES))]
    choices = list_choices(spreads)

    def ask(step: float) -> int:
        return pairs.frame_bytes(unit.name, entries_of(delta, Kept(rows, Draw(0, step, 1, 1.0))))

    sizes = Rate(delta.size, choices, ask).predict(choices)
    weight = rows.energy**_UNIT_POWER
    return Candidate(unit.name, rows, spreads, choices, weight, sizes)


def entries_of(delta: Difference, kept: Kept) -> Entries:
    """What is kept of a unit, piece by piece."""

    def entries(start: int, stop: int) -> NDArray[np.float32]:
        if kept.how is None or start == stop:
            return np.zeros(stop - start, np.float32)
        return draw(delta, kept.rows, kept.how, start, stop)

    return entries


def choices_of(kept: Mapping[str, Kept]) -> dict[str, Callable[[Difference], Entries]]:
    """What makes a unit's entries of its difference, by name."""
    return {name: partial(entries_of, kept=each) for name, each in kept.items()}
