"""What bytes buy: of one unit, power, levels and step; of all units, the level of a budget.

The level is a number that is added to the logarithms of all units' bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from tvbank.compress.budget.candidates import Candidate, Kept
from tvbank.compress.budget.choices import draw_with
from tvbank.compress.budget.drawing import Draw

#: How far the level is moved at first and at most, and how many levels are tried.
_FIRST: Final = 0.02
_FARTHEST: Final = 40.0
_TRIES: Final = 24


@final
@dataclass(frozen=True, eq=False)
class Frontier:
    """Of a unit's choices, those that harm least for their predicted bytes.

    Attributes:
        candidate: the unit and all its choices.
        places: int64 [f], which of the choices, by ascending bytes; every one keeps something.
        bytes: float64 [f], their predicted bytes.
        kept: float64 [f], the entries that they keep.
    """

    candidate: Candidate
    places: NDArray[np.int64]
    bytes: NDArray[np.float64]
    kept: NDArray[np.float64]

    @staticmethod
    def of(candidate: Candidate) -> Frontier | None:
        """The frontier of a unit; None if nothing in the unit has changed."""
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
        """Entries that some bytes keep, on average."""
        return float(np.interp(size, self.bytes, self.kept))

    def bits_for(self, size: float) -> float:
        """Bits of a kept entry's value, its sign included."""
        return 1 + float(np.log2(self.candidate.choices.levels[self._place(size)]))

    def keep(self, size: float) -> Kept:
        """What to keep for some bytes: the next larger choice, with a step that fits the bytes."""
        candidate, place = self.candidate, self._place(size)
        power, levels = int(candidate.choices.powers[place]), int(candidate.choices.levels[place])
        steps, sizes = self._family(power, levels)
        step = float(np.exp(np.interp(-size, -sizes, steps)))
        return Kept(candidate.rows, draw_with(candidate.spreads[power], levels, step))

    def bytes_of(self, how: Draw) -> float:
        """Predicted bytes of a draw that ``Budget`` chose."""
        return float(np.interp(np.log(how.step), *self._family(how.power, how.levels)))

    def _family(self, power: int, levels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """For one power and number of levels: logarithms of steps, ascending, and their bytes."""
        choices = self.candidate.choices
        alike = np.flatnonzero((choices.powers == power) & (choices.levels == levels))
        alike = alike[np.argsort(choices.steps[alike])]
        return np.log(choices.steps[alike]), np.minimum.accumulate(self.candidate.sizes[alike])

    def _place(self, size: float) -> int:
        above = int(np.searchsorted(self.bytes, size))
        return int(self.places[min(above, len(self.places) - 1)])


def bracket(
    size: Callable[[float], float], least: float, most: float
) -> tuple[float | None, float | None]:
    """The largest change of the level that is known to fit, and the smallest that does not.

    Args:
        size: bytes after a change of the level; rises with it, with jumps.
        least: the search ends at a size between this and ``most``.
        most: the largest size that fits.

    Returns:
        The first is None if no change fits. The second is None if the first reaches ``least``, or
        if no change is too large.
    """
    below: float | None = None
    above: float | None = None
    at, stride = 0.0, _FIRST
    for _ in range(_TRIES):
        now = size(at)
        if now > most:
            above = at
        else:
            below = at
            if now >= least:
                return at, None
        if abs(at) >= _FARTHEST:
            break
        if above is None:
            at, stride = at + stride, 2 * stride
        elif below is None:
            at, stride = at - stride, 2 * stride
        else:
            at = (below + above) / 2
    return below, above
