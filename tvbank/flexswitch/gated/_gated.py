"""All units with soft gates and widths: weights out, gradients in, on all cores ([F] Eq. 6-14)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

import numpy as np
import torch
from numpy.typing import NDArray

from tvbank.compress import Pairs, TSwitch
from tvbank.compress._planned import Planned
from tvbank.flexswitch._relaxation import Distance, Outlook, Relaxation
from tvbank.flexswitch._state import State, check_finite
from tvbank.flexswitch._weights import Placement, Weights, flat_slopes, flattened
from tvbank.flexswitch.gated._facts import Facts, survey
from tvbank.flexswitch.gated._gates import (
    CONSTANTS,
    KAPPA,
    SCALARS,
    constants,
    gradient,
    initial,
    softplus,
)
from tvbank.flexswitch.gated._hard import Choice
from tvbank.flexswitch.gated._kernels import count_open, reduce, soften
from tvbank.flexswitch.gated._rates import PaperRate, bits, bits_of
from tvbank.flexswitch.gated._schedule import Schedule

#: Adam's rates ([F]): thresholds and scale, then the logits of the widths.
_RATES: Final = np.array([0.05] * 3 + [0.1] * (SCALARS - 3))
#: What T-Switch drops of units that the loss does not reach, where nothing was learned at all.
_USUAL_DROP: Final = 0.9


@final
class Gated(Relaxation):
    """The paper's relaxation: gates that harden, a mixture of widths that becomes one.

    Attributes:
        facts: of each unit.
    """

    def __init__(
        self,
        pairs: Pairs,
        placement: Placement,
        lam: float,
        steps: int,
        described: Mapping[str, Any],
    ) -> None:
        """Read every unit once.

        Raises:
            NonFiniteError: names the unit.
        """
        self._weights = Weights(pairs, placement)
        self.names = self._weights.names
        surveyed = pairs.each(
            lambda number: survey(self.names[number], *self._weights.both(number)),
            range(len(self.names)),
        )
        self.facts: list[Facts] = list(surveyed)
        self._sizes = np.array(self._weights.sizes, np.float64)
        self._full = np.array([not facts.empty for facts in self.facts], bool)
        self._rate = PaperRate(self._sizes, self._full)
        self._lam, self._schedule, self._described = lam, Schedule(steps), described
        self._fixed_bytes = pairs.fixed_bytes
        self.state = State.start(initial(len(self.names)))
        self._gates = np.zeros((len(self.names), 3))
        self._gradient = np.zeros((len(self.names), SCALARS))

    @property
    def _heat(self) -> float:
        return self._schedule.temperature(self.state.step)

    def tuned(self) -> dict[str, torch.Tensor]:
        """See ``Relaxation.tuned``."""
        return self._weights.tuned()

    def weights(self) -> dict[str, torch.Tensor]:
        """Base plus the soft entries of every unit."""
        rows = self.state.rows
        table = self._constants(rows, self._heat)
        scales = np.array([softplus(row[KAPPA]) for row in rows], np.float32)
        sums: dict[tuple[int, int], NDArray[np.float64]] = {}

        def fill(number: int, start: int, stop: int, out: NDArray[np.float32]) -> None:
            base, tuned = self._weights.block(number, start, stop)
            if not self._full[number]:
                out[:] = base
                return
            found = np.zeros(3)
            soften(base, tuned, scales[number], table[number], out, found)
            sums[number, start] = found

        weights = self._weights.make(fill)
        self._gates[:] = 0
        for place in sorted(sums):  # the same order, and so the same sums, on any cores
            self._gates[place[0]] += sums[place]
        return weights

    def take(self, number: int, slopes: torch.Tensor) -> None:
        """See ``Relaxation.take``."""
        if not self._full[number]:
            return
        self.state.reached[number] = True
        row, flat = self.state.rows[number], flattened(slopes)
        table = constants(self.facts[number], row, self._heat)

        def work(start: int, stop: int) -> NDArray[np.float64]:
            sums = np.zeros(6)
            both = self._weights.block(number, start, stop)
            reduce(*both, flat_slopes(flat, start, stop), table, sums)
            return sums

        parts = self._weights.over_blocks(number, work)
        self._gradient[number] += gradient(row, self._heat, np.sum(parts, axis=0))

    def move(self) -> None:
        """See ``Relaxation.move``."""
        _, of_rate = self._rate.price(self.state.rows, self._heat, self._gates)
        total = self._gradient + of_rate / self._lam
        total[~self._full] = 0
        check_finite(total, self.names, self.state.step)
        self.state.move(total, _RATES)
        self._gradient[:] = 0

    def outlook(self) -> Outlook:
        """See ``Relaxation.outlook``; as far as soft gates tell."""
        kept = np.minimum(self._gates[:, 0], self._sizes)
        widths = bits(self.state.rows, self._heat)
        size = bits_of(self._sizes, self._full, kept, widths).sum() / 8
        return Outlook(
            float(kept.sum()) / max(float(self._sizes.sum()), 1.0),
            float(kept @ widths) / max(float(kept.sum()), 1e-12),
            int(self._fixed_bytes + size),
        )

    def outcome(self, distance: Distance) -> Planned:
        """Hard gates and one width a unit ([F] Eq. 8 and 15)."""
        heat = self._schedule.end
        choices = {
            name: Choice.of(facts, row, heat).entries
            for name, facts, row, reached in zip(
                self.names, self.facts, self.state.rows, self.state.reached, strict=True
            )
            if reached and not facts.empty
        }
        reached = self.state.reached & self._full
        total = float(self._sizes[reached].sum())
        density = self._count_open(reached) / total if total else 1 - _USUAL_DROP
        drop = min(max(round(1 - density, 6), 0.0), 0.999999)
        return Planned(self._described, choices, TSwitch(drop=drop, knob="norm"))

    def _constants(self, rows: NDArray[np.float64], heat: float) -> NDArray[np.float32]:
        """What the kernels need of all units, float32 [units, 22]."""
        found = np.zeros((len(self.names), CONSTANTS), np.float32)
        for number in np.flatnonzero(self._full).tolist():
            found[number] = constants(self.facts[number], rows[number], heat)
        return found

    def _count_open(self, some: NDArray[np.bool_]) -> float:
        """Entries of some units whose gates are above ½ at the end."""
        table = self._constants(self.state.rows, self._schedule.end)

        def count(number: int) -> float:
            found: float = sum(
                self._weights.over_blocks(
                    number,
                    lambda start, stop: float(
                        count_open(*self._weights.block(number, start, stop), table[number])
                    ),
                )
            )
            return found

        return sum(count(number) for number in np.flatnonzero(some).tolist())
