"""All units of the half by bytes: entries drawn at random, anew at every step of learning.

A unit's entries are drawn as ``Budget`` draws them (``tvbank/compress/budget``). Two scalars a
unit are learned: how many bytes it gets, from which its step, power and levels follow
(``frontier.py``), and a factor of its scale. Learning starts from the shares that ``Budget`` gives
without data. The model sees a draw, not an average, so that its gradient shows the harm of the
noise, too (``gradients.py``).

The units' shares are learned apart from the total. Shares move only in directions that leave the
sum of all bytes as it is; a last row of scalars holds the level, a number that is added to the
logarithms of all units' bytes. A budget fixes the level; without one it follows the gradient.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
import torch
from numpy.typing import NDArray

from tvbank.compress import Difference, Pairs
from tvbank.compress.budget.allocate import Allowance, allocate, exact_bytes, fill
from tvbank.compress.budget.candidates import Kept, choices_of, entries_of, survey
from tvbank.compress.budget.drawing import HALVES
from tvbank.compress.lossy import Planned
from tvbank.errors import UsageError
from tvbank.flexswitch._relaxation import Distance, Estimate, Relaxation, State, check_finite
from tvbank.flexswitch._weights import Fill, Weights, flattened
from tvbank.flexswitch.bytes.frontier import Frontier, bracket
from tvbank.flexswitch.bytes.gradients import correlate
from tvbank.flexswitch.bytes.products import filling_of, plan_products

#: Scalars of a unit: the logarithms of its bytes, and of the factor of its scale.
BYTES, SCALE = 0, 1
#: Adam's rates of both at the start; they fall to 0, because draws make gradients noisy.
_RATES: Final = np.array([0.1, 0.02])
#: Draws at the end, of which the nearest to the fine-tune is stored.
_LAST_DRAWS: Final = 16
#: Where λ decides the size, learning starts at this share of the base's bytes, and so many bytes
#: for each unit, so that every unit gets some.
_START: Final = 0.01
_START_BYTES: Final = 64
_FLOAT32_MAX = float(np.finfo(np.float32).max)


@final
@dataclass(frozen=True, eq=False)
class _Drawing:
    """A unit that keeps some of its entries.

    Attributes:
        number: of the unit.
        delta: its entries.
        frontier: what its bytes buy.
    """

    number: int
    delta: Difference
    frontier: Frontier

    def bytes(self, rows: NDArray[np.float64]) -> float:
        """The unit's bytes: e^(its scalar + the level), within what its frontier covers."""
        wanted = float(rows[self.number, BYTES] + rows[-1, BYTES])
        least, most = self.frontier.bytes[[0, -1]]
        return min(max(math.exp(min(wanted, 700.0)), float(least)), float(most))

    def kept(self, rows: NDArray[np.float64], turn: int) -> Kept:
        """What is kept of the unit.

        Args:
            rows: scalars of all units, and the level.
            turn: seeds the draw.
        """
        kept = self.frontier.keep(self.bytes(rows))
        assert kept.how is not None
        size = min(kept.how.size * math.exp(rows[self.number, SCALE]), _FLOAT32_MAX)
        return replace(kept, how=replace(kept.how, size=size, turn=turn))


@final
class BytesUnits(Relaxation):
    """Units drawn at random, under a budget or at a price of bytes."""

    def __init__(
        self,
        pairs: Pairs,
        weights: Weights,
        goal: int | None,
        lam: float,
        steps: int,
        seed: int,
        described: Mapping[str, Any],
        products: str | None = None,
    ) -> None:
        """Survey every unit, and share the bytes out as ``Budget`` does.

        Args:
            pairs: the task vector.
            weights: of all units.
            goal: bytes of the task in the bank; None if λ decides.
            lam: λ, the weight of the loss.
            steps: of the run.
            seed: of the draws.
            described: name and settings of the compressor.
            products: the budget in words, if what ``Budget`` makes with products is to be stored
                where it is nearer to the fine-tune than what was learned.

        Raises:
            NonFiniteError: names the unit.
            UsageError: the goal is below what the task takes without any entry.
        """
        if goal is not None and goal < pairs.fixed_bytes:
            raise _unreachable(goal, pairs)
        self._pairs, self._weights, self._goal, self._lam = pairs, weights, goal, lam
        self._steps, self._seed, self._described = steps, seed, described
        self._products = products
        most = int(_START * pairs.base_bytes) + _START_BYTES * len(weights.names)
        if goal is not None:
            most = goal - pairs.fixed_bytes
        candidates = [survey(pairs, unit) for unit in pairs.units]
        self._kept = allocate(candidates, Allowance.under(most), pairs)
        self._drawings: dict[int, _Drawing] = {}
        rows = np.zeros((len(weights.names) + 1, 2))
        for number, candidate in enumerate(candidates):
            how, frontier = self._kept[candidate.name].how, Frontier.of(candidate)
            if how is not None and frontier is not None:
                delta = Difference(candidate.name, *weights.both(number))
                self._drawings[number] = _Drawing(number, delta, frontier)
                rows[number, BYTES] = math.log(frontier.bytes_of(how))
        self.state = State.start(rows)
        self._gradient = np.zeros_like(rows)
        self._allowed = self._bytes(rows)
        self._drawn: dict[int, Kept] = {}
        self._best = 0

    def filling(self) -> Fill:
        """Base plus a new draw of every unit."""
        return self._draw(zlib.crc32(f"{self._seed} {self.state.step}".encode()))

    def _draw(self, turn: int) -> Fill:
        rows = self.state.rows
        self._drawn = {number: each.kept(rows, turn) for number, each in self._drawings.items()}

        def fill(number: int, start: int, stop: int, out: NDArray[np.float32]) -> None:
            out[:] = self._weights.block(number, start, stop)[0]
            if number in self._drawn:
                out += entries_of(self._drawings[number].delta, self._drawn[number])(start, stop)

        return fill

    def add_gradient(self, number: int, gradient: torch.Tensor) -> None:
        """See ``Relaxation.add_gradient``."""
        if number not in self._drawings:
            return
        delta, slopes, kept = self._drawings[number].delta, flattened(gradient), self._drawn[number]
        how, rows = kept.how, kept.rows
        assert how is not None
        factors = rows.factors[how.power] / how.step

        def work(start: int, stop: int) -> NDArray[np.float64]:
            sums = np.zeros(2)
            correlate(
                delta.block(start, stop), entries_of(delta, kept)(start, stop),
                slopes(start, stop), start, rows.width, HALVES[how.power], factors,
                float(how.levels), how.size, sums,
            )  # fmt: skip
            return sums

        of_step, of_scale = np.sum(self._weights.over_blocks(number, work), axis=0)
        self._gradient[number] += -of_step, of_scale

    def step(self) -> None:
        """See ``Relaxation.step``; under a budget the sum of all bytes stays as it is."""
        rows, total = self.state.rows, self._gradient
        price = np.zeros(len(rows))
        for number, drawing in self._drawings.items():
            price[number] = drawing.bytes(rows)
        of_bytes = total[:, BYTES]
        of_level = of_bytes.sum() + price.sum() / (max(self._pairs.parameters, 1) * self._lam)
        length = max(float(price @ price), np.finfo(np.float64).tiny)
        of_bytes -= float(price @ of_bytes) / length * price
        of_bytes[-1] = 0 if self._goal is not None else of_level
        check_finite(total, self._weights.names, self.state.step)
        self.state.move(total, _RATES * (1 - self.state.step / self._steps))
        if self._goal is not None:
            rows[-1, BYTES] += math.log(self._allowed / self._bytes(rows))
        total[:] = 0

    def estimate(self) -> Estimate:
        """See ``Relaxation.estimate``."""
        kept = widths = 0.0
        for drawing in self._drawings.values():
            size = drawing.bytes(self.state.rows)
            count = drawing.frontier.entries_for(size)
            kept += count
            widths += count * drawing.frontier.bits_for(size)
        return Estimate(
            kept / max(sum(self._weights.sizes), 1),
            widths / max(kept, 1e-12),
            int(self._pairs.fixed_bytes + self._bytes(self.state.rows)),
        )

    def finish(self, distance: Distance) -> Planned:
        """The nearest of several draws; under a budget as large as the exact encoder allows."""
        distances = [distance(self._draw(turn)) for turn in range(_LAST_DRAWS)]
        self._best = int(np.argmin(distances))
        if self._products is not None:
            planned = plan_products(self._pairs, self._products)
            if distance(filling_of(planned, self._pairs, self._weights)) < min(distances):
                return replace(planned, described=self._described)
        kept = self._learned() if self._goal is None else self._fitted(self._goal)
        return Planned(self._described, choices_of(self._kept | kept))

    def _learned(self, change: float = 0.0) -> dict[str, Kept]:
        """What was learned, with the level changed by so much."""
        rows = self.state.rows.copy()
        rows[-1, BYTES] += change
        return {each.delta.unit: each.kept(rows, self._best) for each in self._drawings.values()}

    def _fitted(self, goal: int) -> dict[str, Kept]:
        """What was learned, at the level where the exact encoder meets the budget."""
        allowance = Allowance.under(goal - self._pairs.fixed_bytes)

        def measure(change: float) -> list[int]:
            kept = self._learned(change).items()
            return [exact_bytes(name, each, self._pairs) for name, each in kept]

        below, above = bracket(lambda c: sum(measure(c)), allowance.least, allowance.most)
        if below is None:
            return {}  # headers alone take too much: what ``Budget`` keeps fits
        kept = self._learned(below)
        if above is None:
            return kept
        candidates = [each.frontier.candidate for each in self._drawings.values()]
        larger = list(self._learned(above).values())
        filled = fill(candidates, list(kept.values()), measure(below), larger, measure(above),
                      allowance, self._pairs)  # fmt: skip
        return dict(zip(kept, filled, strict=True))

    def _bytes(self, rows: NDArray[np.float64]) -> float:
        """Predicted bytes of all frames; never 0."""
        return sum(each.bytes(rows) for each in self._drawings.values()) or 1.0


def _unreachable(goal: int, pairs: Pairs) -> UsageError:
    least = pairs.fixed_bytes
    bits = 8 * least / max(pairs.parameters, 1)
    return UsageError(
        f"the budget of {goal} bytes cannot be reached: documents, indices and what is kept "
        f"whole take {least} bytes ({bits:.3f} bits/param) already; give more than that"
    )
