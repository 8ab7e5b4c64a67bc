"""Exact bytes while learning, and a budget: λ follows the size, and the thresholds do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import final

import numpy as np
from numpy.typing import NDArray

from tvbank.compress import Difference, Entries, Pairs
from tvbank.errors import UsageError
from tvbank.flexswitch._gates import LOGITS, MINUS, PLUS, WIDTHS, threshold
from tvbank.flexswitch._learn import Learner
from tvbank.flexswitch._learned import Choice, Learned
from tvbank.flexswitch._rates import CHUNK_BYTES
from tvbank.flexswitch._schedule import Schedule
from tvbank.flexswitch._units import Units

#: Steps between measurements by the exact encoder, and between looks at the estimate.
_MEASURE_EVERY, _LOOK_EVERY = 50, 5
#: Share of the steps after which sizes mean something, and after which the budget is kept to.
_WARM_UP, _HOLD = 0.2, 0.55
#: How fast λ follows the size before and after that, in 200 steps, and at most.
_GAIN, _HOLD_GAIN, _MOST_GAIN = 0.3, 0.5, 1.0
#: How far all thresholds may move at a look, as a factor, and how often factors are halved.
_FARTHEST, _HALVINGS = 4.0, 9
#: Thresholds stay this far, as a share of their range, from its ends.
_MARGIN = 0.002
#: Where a budget may end, as a share of it, and how often thresholds are tried.
LEAST, MOST, _TRIES = 0.985, 1.0, 24


@final
class Meter:
    """Weighs the task as it would be stored if learning ended now.

    Attributes:
        goal: bytes of the task in the bank; None without a budget.
    """

    def __init__(self, pairs: Pairs, units: Units, schedule: Schedule, goal: int | None) -> None:
        """Refuse a goal below what the task takes without any entry.

        Raises:
            UsageError: says how small the budget may be.
        """
        self._pairs, self._units, self.goal = pairs, units, goal
        self._steps, self._end = schedule.steps, schedule.end
        if goal is not None and goal < pairs.fixed_bytes:
            raise _unreachable(goal, pairs.fixed_bytes, pairs)

    def adjust(self, learner: Learner) -> None:
        """Before a step: measure masks now and then, and let λ follow the budget."""
        state = learner.state
        if state.step < _WARM_UP * self._steps:
            return
        measure = state.step % _MEASURE_EVERY == 0
        if not measure and (self.goal is None or state.step % _LOOK_EVERY):
            return
        if measure:
            kept, widths = self._count(state.rows)
            frames, chunks = self._frames(state.rows)
            learner.exact.calibrate(kept, widths, frames, chunks)
            state.factors = learner.exact.factors
        if self.goal is not None:
            self._follow(learner, self.goal)

    def _follow(self, learner: Learner, goal: int) -> None:
        """Let λ follow the size; from the middle on, move all thresholds to the budget as well.

        What would be stored grows while gates harden: at first, only a size that is too large
        already tells anything. Later a λ alone would come too late, as hard gates move slowly.
        """
        state = learner.state
        error = min(max(math.log(goal / self._estimate(learner, state.rows)), -1.0), 1.0)
        pace = 200 / self._steps
        if state.step < _HOLD * self._steps:
            state.lam *= math.exp(min(_GAIN * pace, _MOST_GAIN) * min(error, 0.0))
            return
        state.lam *= math.exp(min(_HOLD_GAIN * pace, _MOST_GAIN) * error)
        low, high = 1 / _FARTHEST, _FARTHEST
        for _ in range(_HALVINGS):
            middle = math.sqrt(low * high)
            if self._estimate(learner, self._moved(state.rows, middle)) > goal:
                low = middle
            else:
                high = middle
        state.rows[:] = self._moved(state.rows, high)

    def _count(self, rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Entries of every unit that would be kept if learning ended now, and their bits."""
        widths = [WIDTHS[place] for place in rows[:, LOGITS].argmax(1)]
        return self._units.count_open(rows, self._end), np.array(widths, np.float64)

    def _estimate(self, learner: Learner, rows: NDArray[np.float64]) -> float:
        """Bytes that would be stored."""
        kept, widths = self._count(rows)
        frames = float(learner.exact.bits_of(kept, widths).sum()) / 8
        return self._pairs.fixed_bytes + frames + CHUNK_BYTES * np.count_nonzero(kept)

    def _moved(self, rows: NDArray[np.float64], reach: float) -> NDArray[np.float64]:
        """The scalars with all thresholds multiplied, as far as their ranges allow."""
        moved = rows.copy()
        for number in np.flatnonzero(self._units.full).tolist():
            facts = self._units.facts[number]
            for sign in (PLUS, MINUS):
                start, length = facts.range(sign)
                if length:
                    wanted = reach * threshold(facts, sign, rows[number, sign])
                    share = min(max((wanted - start) / length, _MARGIN), 1 - _MARGIN)
                    moved[number, sign] = math.tan(math.pi * (share - 0.5))
        return moved

    def fit(self, learned: Learned) -> Learned:
        """Multiply all thresholds so that the task takes the goal's bytes, by the exact encoder.

        Where the goal is more than all entries take, widths are doubled first.

        Raises:
            UsageError: what T-Switch keeps of units that the loss does not reach is too much.
        """
        if self.goal is None:
            return learned
        others = sum(self._pairs.frame_bytes(name, self._rest(learned, name))
                     for number, name in enumerate(self._units.names)
                     if name not in learned.choices and self._units.full[number])  # fmt: skip
        fixed = self._pairs.fixed_bytes + others
        if self.goal < fixed:
            raise _unreachable(self.goal, fixed, self._pairs)

        def weigh(each: Learned) -> int:
            return fixed + self._size(each.choices)

        size = weigh(learned)
        if size < LEAST * self.goal:
            while learned.narrow and weigh(learned.reaching(0.0)) < LEAST * self.goal:
                learned = learned.widened()
            size = weigh(learned)
        low, high = 0.0, math.inf  # too large a task, small enough a task
        reach = 1.0
        for _ in range(_TRIES):
            if size <= self.goal:
                high = reach
                if size >= LEAST * self.goal:
                    break
            else:
                low = reach
            reach = 1.25 * reach if math.isinf(high) else (low + high) / 2
            size = weigh(learned.reaching(reach))
        return learned.reaching(high)

    def _frames(self, rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Bytes and number of the frames of every unit."""
        sizes = np.zeros(len(self._units.names))
        for number, name in enumerate(self._units.names):
            if self._units.full[number]:
                choice = Choice.of(self._units.facts[number], rows[number], self._end)
                choice = choice.one_sided(Difference(name, *self._pairs.read(name)))
                sizes[number] = self._pairs.frame_bytes(name, self._entries(name, choice))
        return sizes, np.ceil(self._units.sizes / self._pairs.chunk_length)

    def _size(self, choices: Mapping[str, Choice]) -> int:
        priced = (
            self._pairs.frame_bytes(name, self._entries(name, choice))
            for name, choice in choices.items()
        )
        return sum(priced)

    def _entries(self, name: str, choice: Choice) -> Entries:
        return choice.entries(Difference(name, *self._pairs.read(name)))

    def _rest(self, learned: Learned, name: str) -> Entries:
        return learned.prepare(name, *self._pairs.read(name))


def _unreachable(goal: int, least: int, pairs: Pairs) -> UsageError:
    bits = 8 * least / max(pairs.parameters, 1)
    return UsageError(
        f"the budget of {goal} bytes cannot be reached: documents, indices and what is kept "
        f"whole take {least} bytes ({bits:.3f} bits/param) already; give more than that"
    )
