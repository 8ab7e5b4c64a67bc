"""What was learned, applied: hard gates and one bit width a unit ([F] Eq. 8 and 15)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray

from tvbank.checkpoint import TensorSpec
from tvbank.compress import Compressor, Difference, Entries, TSwitch
from tvbank.compress._difference import is_float
from tvbank.compress._each import Each
from tvbank.flexswitch._facts import BLOCK, Facts
from tvbank.flexswitch._gates import (
    FAR,
    KAPPA,
    LOGITS,
    MINUS,
    PLUS,
    WIDTHS,
    Levels,
    constants,
    initial,
    softplus,
)
from tvbank.flexswitch._kernels import harden

#: A sign that has fewer entries than the other by this factor is worth less than its bits: an entry
#: and its position take about 6 bits where a per cent is kept, and those that are left last matter
#: more than others.
_RARE = 64
_FINEST = 2 ** WIDTHS[-1]
_LARGEST = float(np.finfo(np.float32).max)
_TINIEST = float(np.finfo(np.float32).tiny)


@final
@dataclass(frozen=True, eq=False)
class Choice:
    """What was learned of one unit.

    Attributes:
        facts: of the unit, which is not empty.
        row: its scalars, float64 [7].
        temperature: ρ at the end.
        reach: both thresholds are multiplied by this; 1 but for a budget.
        bits: width of the codes.
        closed: signs of which nothing is kept.
    """

    facts: Facts
    row: NDArray[np.float64]
    temperature: float
    bits: int
    reach: float = 1.0
    closed: tuple[bool, bool] = (False, False)

    @staticmethod
    def of(facts: Facts, row: NDArray[np.float64], temperature: float) -> Choice:
        """The width with the largest logit; of equal ones the smallest ([F] Eq. 15)."""
        return Choice(facts, row, temperature, WIDTHS[int(np.argmax(row[LOGITS]))])

    def entries(self, delta: Difference) -> Entries:
        """The unit's entries: zero, or a value that has the sign of the difference."""
        table = constants(self.facts, self.row, self.temperature)
        table[0] *= self.reach
        table[2] *= self.reach
        for sign in (PLUS, MINUS):
            if self.closed[sign]:
                table[2 * sign] = FAR
        first, values = self.values()
        divisor = _FINEST // 2**self.bits

        def entries(start: int, stop: int) -> NDArray[np.float32]:
            block = delta.block(start, stop).copy()
            harden(block, table, divisor, first, values)
            return block

        return entries

    def one_sided(self, delta: Difference) -> Choice:
        """The same without a sign that has few of the entries, where values are signs.

        A threshold never closes a sign wholly, as φ < 1. But where all values are the same they
        take no bytes, so a last few entries of the other sign cost a bit for every entry.
        """
        if self.bits != WIDTHS[0]:
            return self
        entries, counts = self.entries(delta), np.zeros(2)
        for start in range(0, delta.size, BLOCK):
            block = entries(start, min(start + BLOCK, delta.size))
            counts += np.count_nonzero(block > 0), np.count_nonzero(block < 0)
        rare = counts * _RARE <= counts[::-1]
        return replace(self, closed=(bool(rare[0]), bool(rare[1]))) if counts.any() else self

    def widened(self) -> Choice:
        """The next width, at scale 1; the same if there is none."""
        if self.bits == WIDTHS[-1]:
            return self
        row = self.row.copy()
        row[KAPPA] = initial(1)[0, KAPPA]
        return replace(self, bits=WIDTHS[WIDTHS.index(self.bits) + 1], row=row)

    def values(self) -> tuple[int, NDArray[np.float32]]:
        """The first positive code, and the value of each, float32 [2^bits].

        They lie on one grid of float32 offset and step, as the value encoding ``affine`` holds it
        (spec/values.md), but for a bin that was given to the other sign (``Levels``).
        """
        levels = Levels.of(self.facts, self.bits)
        scale = softplus(self.row[KAPPA])
        offset, step = np.float32(scale * levels.offset), np.float32(scale * levels.step)
        codes = np.arange(2**self.bits)
        values = np.float64(offset) + codes * np.float64(step)
        first = levels.first
        if first < len(values) and not values[first] > 0:
            values[first] = scale * levels.lowest
        if first > 0 and not values[first - 1] < 0:
            values[first - 1] = scale * levels.highest
        values[first:] = np.clip(values[first:], _TINIEST, _LARGEST)
        values[:first] = np.clip(values[:first], -_LARGEST, -_TINIEST)
        return first, values.astype(np.float32)


@final
@dataclass(frozen=True, eq=False)
class Learned(Compressor):
    """The compressor that ``FlexSwitch`` becomes once it has learned.

    Attributes:
        choices: of units that have changed and that the loss reached, by name.
        rest: compresses changed units that the loss never reached.
        described: name, settings and outcome.
    """

    choices: Mapping[str, Choice]
    rest: TSwitch
    described: Mapping[str, Any]

    element: ClassVar[Literal["float32", "int32"]] = "float32"

    def describe(self) -> dict[str, Any]:
        """See ``Compressor.describe``."""
        return dict(self.described)

    def accepts(self, base: TensorSpec, tuned: TensorSpec) -> bool:
        """See ``Compressor.accepts``."""
        return is_float(tuned.dtype)

    def prepare(
        self, unit: str, base: NDArray[Any], tuned: NDArray[Any], each: Each = map
    ) -> Entries:
        """See ``Compressor.prepare``."""
        if unit not in self.choices:
            return self.rest.prepare(unit, base, tuned, each)
        return self.choices[unit].entries(Difference(unit, base, tuned))

    def one_sided(self, differences: Callable[[str], Difference]) -> Learned:
        """The same without signs that are rare in their units (``Choice.one_sided``)."""
        sided = {name: each.one_sided(differences(name)) for name, each in self.choices.items()}
        return replace(self, choices=sided)

    def reaching(self, reach: float) -> Learned:
        """The same with all thresholds multiplied."""
        moved = {name: replace(choice, reach=reach) for name, choice in self.choices.items()}
        return replace(self, choices=moved)

    @property
    def narrow(self) -> bool:
        """Whether any unit has less than the greatest width."""
        return any(choice.bits < WIDTHS[-1] for choice in self.choices.values())

    def widened(self) -> Learned:
        """The same with the next width of each unit, at scale 1: finer levels need no other."""
        wider = {name: choice.widened() for name, choice in self.choices.items()}
        return replace(self, choices=wider)
