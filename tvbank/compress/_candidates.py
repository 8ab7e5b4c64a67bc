"""One unit before a budget: what can be kept of it, at what bytes and what harm; and what was."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from tvbank.compress._choices import Choices, list_choices, values_of
from tvbank.compress._compressor import Entries
from tvbank.compress._difference import Difference
from tvbank.compress._magnitudes import BINS, Magnitudes, count_magnitudes, replace_by_bin
from tvbank.compress._pairs import PairedUnit, Pairs
from tvbank.compress._rate import Rate
from tvbank.compress._rows import Rows, survey_rows

# Chosen on the training data of seven fine-tunes of two models (spec/decisions, "Budgets").
#: r of ``_choices.py``.
_RATIO: Final = 32.0
#: The harm of losing a unit whole, as a power of its squared norm: 1 would be the plain squared
#: error, 0 the same for every unit.
_UNIT_POWER: Final = 0.5
#: What scores multiply magnitudes with, as a power of the root mean square of the row.
_ROW_POWER: Final = -0.5
#: A matrix of so many times more rows than columns is a table of vectors: its rows are looked up,
#: and not each an output of its own.
_TABLE_ASPECT: Final = 16


@final
@dataclass(frozen=True, eq=False)
class Kept:
    """What is kept of a unit.

    Attributes:
        values: float32 [2^14], what entries of each bin become.
        by_score: whether bins are of scores, or of plain magnitudes.
        rows: its rows and their factors.
        cut: up to this position, ``more`` holds instead of ``values``.
        more: as ``values``, for those.
    """

    values: NDArray[np.float32]
    by_score: bool
    rows: Rows
    cut: int = 0
    more: NDArray[np.float32] | None = None


@final
@dataclass(eq=False)
class Candidate:
    """A unit and its choices.

    Attributes:
        name: of the unit.
        size: its entries.
        rows: its rows and their factors.
        by_score: its entries in bins of scores.
        plain: the same in bins of magnitudes.
        choices: what can be kept.
        weight: the harm of keeping nothing.
        sizes: float64 [c], predicted bytes of each choice.
        measured: exact bytes of choices, as far as they are known.
    """

    name: str
    size: int
    rows: Rows
    by_score: Magnitudes
    plain: Magnitudes
    choices: Choices
    weight: float
    sizes: NDArray[np.float64]
    measured: dict[int, int] = field(default_factory=lambda: {0: 0})

    def bins(self, choice: int) -> NDArray[np.int64]:
        """All bins that a choice may keep, the most worthy first."""
        return (self.by_score if self.choices.levels[choice] <= 1 else self.plain).bins

    def keep(self, choice: int) -> Kept:
        """What a choice comes to."""
        levels = int(self.choices.levels[choice])
        spread = self.by_score if levels <= 1 else self.plain
        values = values_of(spread, int(self.choices.thresholds[choice]), levels, _RATIO)
        return Kept(values, levels <= 1, self.rows)


def survey(pairs: Pairs, unit: PairedUnit) -> Candidate:
    """Read a unit, count its entries, and ask the bank's encoder what a few densities cost.

    Raises:
        NonFiniteError: an entry is not finite.
    """
    base, tuned = pairs.read(unit.name)
    delta = Difference(unit.name, base, tuned)
    is_table = len(unit.shape) > 1 and unit.shape[0] * unit.shape[0] > _TABLE_ASPECT * delta.size
    rows = survey_rows(delta, unit.shape, 0.0 if is_table else _ROW_POWER, pairs.each)
    by_score = count_magnitudes(delta, rows, by_score=True, each=pairs.each)
    plain = by_score
    if len(rows.factors) > 1 and not is_table:
        plain = count_magnitudes(delta, rows, by_score=False, each=pairs.each)
    choices = list_choices(by_score, plain, _RATIO)

    def ask(bins: int) -> int:
        values = np.zeros(BINS, np.float32)
        values[by_score.bins[:bins]] = 1
        return pairs.frame_bytes(unit.name, entries_of(delta, Kept(values, True, rows)))

    sizes = Rate(delta.size, by_score.kept, ask).predict(choices)
    weight = rows.energy**_UNIT_POWER
    return Candidate(unit.name, delta.size, rows, by_score, plain, choices, weight, sizes)


def entries_of(delta: Difference, kept: Kept) -> Entries:
    """What is kept of a unit, piece by piece."""

    def entries(start: int, stop: int) -> NDArray[np.float32]:
        block = delta.block(start, stop)
        middle = min(max(kept.cut - start, 0), stop - start)
        if middle and kept.more is not None:
            before = block[:middle]
            replace_by_bin(before, start, kept.more, kept.rows, by_score=kept.by_score)
        rest = block[middle:]
        replace_by_bin(rest, start + middle, kept.values, kept.rows, by_score=kept.by_score)
        return block

    return entries
