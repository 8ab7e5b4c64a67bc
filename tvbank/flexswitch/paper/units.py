"""All units of the paper's half: soft while they are learned, hard at the end ([F] Eq. 6-15)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import torch
from numpy.typing import NDArray

from tvbank.compress import Difference, Entries, Pairs, TSwitch
from tvbank.compress.lossy import Planned
from tvbank.flexswitch._relaxation import Distance, Estimate, Relaxation, State, check_finite
from tvbank.flexswitch._weights import Fill, Weights, flattened
from tvbank.flexswitch.paper.gates import (
    CONSTANTS,
    KAPPA,
    LOGITS,
    SCALARS,
    WIDTHS,
    Extremes,
    Levels,
    constants,
    gradient_of_scalars,
    initial,
    softplus,
    survey,
)
from tvbank.flexswitch.paper.kernels import (
    count_open,
    harden,
    harden_whole,
    reduce,
    reduce_whole,
    soften,
    soften_whole,
)
from tvbank.flexswitch.paper.price import PaperPrice, Part, bits, bits_of, temperature_at

#: Adam's rates ([F]): thresholds and scale, then the logits of the widths.
_RATES: Final = np.array([0.05] * 3 + [0.1] * (SCALARS - 3))
#: What T-Switch drops of units that the loss does not depend on, if nothing at all was learned.
_USUAL_DROP: Final = 0.9
#: Bits of an entry that is kept as it is.
_WHOLE: Final = 32
_FINEST = 2 ** WIDTHS[-1]
_LARGEST = float(np.finfo(np.float32).max)
_TINIEST = float(np.finfo(np.float32).tiny)


@final
class PaperUnits(Relaxation):
    """LGS and BAS under Eq. 14: gates that harden, a mixture of bit widths that becomes one."""

    def __init__(
        self, pairs: Pairs, weights: Weights, lam: float, steps: int, described: Mapping[str, Any],
        part: Part = None,
    ) -> None:  # fmt: skip
        """Read every unit once.

        Args:
            pairs: the task vector.
            weights: of all units.
            lam: λ, the weight of the loss.
            steps: of the run.
            described: name and settings of the compressor.
            part: what is learned alone ([F]'s ablation); by default both.

        Raises:
            NonFiniteError: names the unit.
        """
        self._part: Part = part
        self._weights, names = weights, weights.names
        surveyed = pairs.each(
            lambda number: survey(names[number], *weights.both(number)), range(len(names))
        )
        self._extremes: list[Extremes] = list(surveyed)
        self._sizes = np.array(weights.sizes, np.float64)
        self._changed = np.array([not each.empty for each in self._extremes], bool)
        self._price = PaperPrice(self._sizes, self._changed, part)
        self._lam, self._steps, self._described = lam, steps, described
        self._fixed_bytes = pairs.fixed_bytes
        self.state = State.start(initial(len(names)))
        self._gates = np.zeros((len(names), 3))
        self._sums: dict[tuple[int, int], NDArray[np.float64]] = {}
        self._fill: Fill = weights.tuned
        self._gradient = np.zeros((len(names), SCALARS))

    def filling(self) -> Fill:
        """Base plus the soft entries of every unit: θ + M̃⊙Q_M(τ) ([F] Eq. 8, 12).

        θ + M̃⊙τ of LGS alone, θ + Q_M(τ) of BAS alone.
        """
        work = soften_whole if self._part == "lgs" else soften
        rows, table = self.state.rows, self._constants(self._heat)
        scales = np.array([softplus(row[KAPPA]) for row in rows], np.float32)
        sums = self._sums
        sums.clear()

        def fill(number: int, start: int, stop: int, out: NDArray[np.float32]) -> None:
            base, tuned = self._weights.block(number, start, stop)
            if not self._changed[number]:
                out[:] = base
                return
            gates = np.zeros(3)
            work(base, tuned, scales[number], table[number], out, gates)
            sums[number, start] = gates

        self._fill = fill
        return fill

    def _add_gates(self) -> None:
        """Sum up what all pieces say of the gates; of units that nobody asked for, too."""
        made = {number for number, _ in self._sums}
        for number in np.flatnonzero(self._changed).tolist():
            if number not in made:
                self._weights.make_one(number, self._fill)
        self._gates[:] = 0
        for place in sorted(self._sums):  # the same order, and sums, on any number of cores
            self._gates[place[0]] += self._sums[place]

    def add_gradient(self, number: int, gradient: torch.Tensor) -> None:
        """See ``Relaxation.add_gradient``."""
        if not self._changed[number]:
            return
        self.state.reached[number] = True
        row, slopes = self.state.rows[number], flattened(gradient)
        table = constants(self._extremes[number], row, self._heat, self._part != "bas")
        add = reduce_whole if self._part == "lgs" else reduce

        def work(start: int, stop: int) -> NDArray[np.float64]:
            sums = np.zeros(6)
            add(*self._weights.block(number, start, stop), slopes(start, stop), table, sums)
            return sums

        parts = self._weights.over_blocks(number, work)
        self._gradient[number] += gradient_of_scalars(row, self._heat, np.sum(parts, axis=0))

    def step(self) -> None:
        """See ``Relaxation.step``; the objective is the loss plus the price over λ ([F] Eq. 14)."""
        self._add_gates()
        _, of_price = self._price.of(self.state.rows, self._heat, self._gates)
        total = self._gradient + of_price / self._lam
        total[~self._changed] = 0
        if self._part == "bas":
            total[:, KAPPA] = 0  # the scale is one of the gates'
        check_finite(total, self._weights.names, self.state.step)
        self.state.move(total, _RATES)
        self._gradient[:] = 0

    def estimate(self) -> Estimate:
        """See ``Relaxation.estimate``; a gate that is half open counts as half an entry."""
        kept = np.minimum(self._gates[:, 0], self._sizes)
        widths = bits(self.state.rows, self._heat)
        if self._part == "lgs":
            widths = np.full_like(widths, _WHOLE)
        size = bits_of(self._sizes, self._changed, kept, widths).sum() / 8
        return Estimate(
            float(kept.sum()) / max(float(self._sizes.sum()), 1.0),
            float(kept @ widths) / max(float(kept.sum()), 1e-12),
            int(self._fixed_bytes + size),
        )

    def finish(self, distance: Distance) -> Planned:
        """Hard gates and one width a unit; T-Switch at their density for units without a gradient.

        See ``HardUnit``.
        """
        reached = self.state.reached & self._changed
        choices = {
            self._weights.names[number]: HardUnit.of(
                self._extremes[number], self.state.rows[number], self._end, self._part
            ).entries
            for number in np.flatnonzero(reached).tolist()
        }
        total = float(self._sizes[reached].sum())
        density = self._count_open(reached) / total if total else 1 - _USUAL_DROP
        drop = min(max(round(1 - density, 6), 0.0), 0.999999)
        return Planned(self._described, choices, TSwitch(drop=drop, knob="norm"))

    @property
    def _heat(self) -> float:
        return temperature_at(self.state.step, self._steps)

    @property
    def _end(self) -> float:
        """ρ and ω at the end, by which gates are open or closed."""
        return temperature_at(self._steps, self._steps)

    def _constants(self, heat: float) -> NDArray[np.float32]:
        """What the kernels need of all units, float32 [units, 22]."""
        table = np.zeros((len(self._extremes), CONSTANTS), np.float32)
        for number in np.flatnonzero(self._changed).tolist():
            row = self.state.rows[number]
            table[number] = constants(self._extremes[number], row, heat, self._part != "bas")
        return table

    def _count_open(self, some: NDArray[np.bool_]) -> float:
        """Entries of some units whose gates are above ½ at the end."""
        table, total = self._constants(self._end), 0.0
        for number in np.flatnonzero(some).tolist():

            def count(start: int, stop: int, unit: int = number) -> float:
                return float(count_open(*self._weights.block(unit, start, stop), table[unit]))

            total += sum(self._weights.over_blocks(number, count))
        return total


@final
@dataclass(frozen=True, eq=False)
class HardUnit:
    """The outcome of one unit: hard gates M > ½ and one bit width ([F] Eq. 8 and 15).

    Attributes:
        extremes: of the unit, which is not empty.
        row: its scalars, float64 [7].
        temperature: ρ at the end.
        bits: width of the codes.
        part: what was learned alone, if not both.
    """

    extremes: Extremes
    row: NDArray[np.float64]
    temperature: float
    bits: int
    part: Part = None

    @staticmethod
    def of(
        extremes: Extremes, row: NDArray[np.float64], temperature: float, part: Part = None
    ) -> HardUnit:
        """The width with the largest logit; of equal logits the smallest width ([F] Eq. 15)."""
        return HardUnit(extremes, row, temperature, WIDTHS[int(np.argmax(row[LOGITS]))], part)

    def entries(self, delta: Difference) -> Entries:
        """The unit's entries: zero, or a value that has the sign of the difference."""
        table = constants(self.extremes, self.row, self.temperature, self.part != "bas")
        scale = np.float32(softplus(self.row[KAPPA]))

        def whole(start: int, stop: int) -> NDArray[np.float32]:
            block = delta.block(start, stop).copy()
            harden_whole(block, table, scale)
            return block

        if self.part == "lgs":
            return whole
        first, values = self.values()
        divisor = _FINEST // 2**self.bits

        def entries(start: int, stop: int) -> NDArray[np.float32]:
            block = delta.block(start, stop).copy()
            harden(block, table, divisor, first, values)
            return block

        return entries

    def values(self) -> tuple[int, NDArray[np.float32]]:
        """The first positive code, and the value of each, float32 [2^bits].

        They lie on one grid of float32 offset and step, as the value encoding ``affine`` holds it
        (spec/values.md), except a bin that was given to the other sign (``Levels``).
        """
        levels = Levels.of(self.extremes, self.bits)
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
