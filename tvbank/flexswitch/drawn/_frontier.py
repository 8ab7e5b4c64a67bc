"""The best that some bytes buy of one unit: power, levels and step as functions of the bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from tvbank.compress._candidates import Candidate, Kept
from tvbank.compress._choices import draw_with
from tvbank.compress._draw import Draw


@final
@dataclass(frozen=True, eq=False)
class Frontier:
    """The choices of a budget that harm least for their predicted bytes.

    Attributes:
        candidate: the unit and all its choices.
        places: int64 [f], those on the frontier, by ascending bytes; none keeps nothing.
        bytes: float64 [f].
        kept: float64 [f], entries.
    """

    candidate: Candidate
    places: NDArray[np.int64]
    bytes: NDArray[np.float64]
    kept: NDArray[np.float64]

    @staticmethod
    def of(candidate: Candidate) -> Frontier | None:
        """Choices of which none is both larger and worse than another; None if nothing changed."""
        choices, sizes = candidate.choices, candidate.sizes
        some = np.flatnonzero(choices.levels > 0)
        order = some[np.lexsort((choices.harm[some], sizes[some]))]
        best = np.minimum.accumulate(choices.harm[order])
        places = order[np.diff(best, prepend=np.inf) < 0]
        return (
            Frontier(candidate, places, sizes[places], choices.kept[places])
            if len(places)
            else None
        )

    def entries_for(self, size: float) -> float:
        """Entries that are kept for some bytes, on average."""
        return float(np.interp(size, self.bytes, self.kept))

    def bits_for(self, size: float) -> float:
        """Bits of a kept entry's value, its sign included."""
        return 1 + float(np.log2(self.candidate.choices.levels[self._place(size)]))

    def keep(self, size: float) -> Kept:
        """What to keep for some bytes: the next choice above, with a step that is larger."""
        candidate, place = self.candidate, self._place(size)
        power, levels = int(candidate.choices.powers[place]), int(candidate.choices.levels[place])
        steps, sizes = self._family(power, levels)
        step = float(np.exp(np.interp(-size, -sizes, steps)))
        return Kept(candidate.rows, draw_with(candidate.spreads[power], levels, step))

    def bytes_of(self, how: Draw) -> float:
        """Predicted bytes of what a budget chose."""
        return float(np.interp(np.log(how.step), *self._family(how.power, how.levels)))

    def _family(self, power: int, levels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Logarithms of steps, ascending, and their bytes, for one power and number of levels."""
        choices = self.candidate.choices
        alike = np.flatnonzero((choices.powers == power) & (choices.levels == levels))
        alike = alike[np.argsort(choices.steps[alike])]
        return np.log(choices.steps[alike]), np.minimum.accumulate(self.candidate.sizes[alike])

    def _place(self, size: float) -> int:
        above = int(np.searchsorted(self.bytes, size))
        return int(self.places[min(above, len(self.places) - 1)])
