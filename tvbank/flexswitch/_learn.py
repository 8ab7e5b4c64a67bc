"""The optimisation ([F] Eq. 14 and its schedule): a few scalars per unit, by Adam."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from tvbank.errors import UsageError
from tvbank.flexswitch._gates import SCALARS
from tvbank.flexswitch._losses import LOSSES, check_logits
from tvbank.flexswitch._progress import Step
from tvbank.flexswitch._rates import BlendedRate, ByteRate, PaperRate, Rate, bits
from tvbank.flexswitch._schedule import Schedule
from tvbank.flexswitch._state import State
from tvbank.flexswitch._student import Inputs, Student
from tvbank.flexswitch._units import Softened, Units, hand

#: Steps between checkpoints.
_SAVE_EVERY = 25


@final
class Learner:
    """One run: the teacher's logits, then steps until there are enough.

    Attributes:
        state: the scalars as they are now.
        exact: prices masks and values; used by both objectives to predict bytes.
    """

    def __init__(
        self,
        student: Student,
        units: Units,
        inputs: Inputs,
        examples: int,
        loss: str,
        batch: int,
        seed: int,
        state: State,
        schedule: Schedule,
        by_bytes: bool,
    ) -> None:
        """Compute the teacher's logits.

        Raises:
            UsageError: logits that the loss cannot compare.
        """
        self._student, self._units, self._inputs = student, units, inputs
        self._examples, self._batch, self._seed = examples, batch, seed
        self._schedule, self._steps = schedule, schedule.steps
        self._loss = LOSSES[loss]
        self.state = state
        self.exact = ByteRate(units.sizes, units.full)
        self.exact.factors = state.factors
        paper = PaperRate(units.sizes, units.full)
        self._rate: Rate = BlendedRate(paper, self.exact) if by_bytes else paper
        self._teacher, self._rows_of = self._teach()
        check_logits(loss, self._teacher)

    def run(
        self,
        report: Callable[[Step], object],
        fixed_bytes: int,
        adjust: Callable[[Learner], object],
        save: Callable[[State], object],
    ) -> None:
        """Learn until all steps are done, those of an earlier run that is resumed included.

        Args:
            report: called after every step.
            fixed_bytes: of the task beside its frames, for the report.
            adjust: called before every step, to measure and to change λ.
            save: called with the state every now and then, and at the end.
        """
        while self.state.step < self._steps:
            adjust(self)
            loss, softened = self._step()
            done = self.state.step
            report(self._describe(loss, softened, fixed_bytes))
            if done % _SAVE_EVERY == 0 or done == self._steps:
                save(self.state)

    def _teach(self) -> tuple[torch.Tensor, int]:
        """Logits of the fine-tuned model for all examples, and rows of logits an example has."""
        weights = self._units.teacher(self._student.dtypes, self._student.devices)
        parts = []
        with torch.no_grad():
            for start in range(0, self._examples, self._batch):
                chosen = slice(start, start + self._batch)
                parts.append(self._student.run(weights, self._inputs, chosen).float())
        logits = torch.cat(parts)
        if len(logits) % self._examples:
            raise UsageError(
                f"forward gives {len(logits)} rows of logits for {self._examples} examples; it "
                "must give [batch, classes]"
            )
        return logits, len(logits) // self._examples

    def _chosen(self) -> torch.Tensor:
        """Indices of this step's examples: every epoch a new order, whole batches only."""
        epoch, place = divmod(self.state.step, self._examples // self._batch)
        order = np.random.default_rng([self._seed, epoch]).permutation(self._examples)
        return torch.from_numpy(order[place * self._batch : (place + 1) * self._batch])

    def _step(self) -> tuple[float, Softened]:
        state, heat = self.state, self._schedule.temperature(self.state.step)
        softened = self._units.soften(state.rows, heat, self._student.dtypes, self._student.devices)
        gradient = np.zeros((len(self._units.names), SCALARS))
        loss = self._backward(softened.weights, gradient, heat)
        softened.weights.clear()
        _, of_rate = self._rate.price(state.rows, heat, softened.gates)
        # Not λ·loss + rate: the same direction, but Adam's memory of early, large gradients of the
        # loss would hold back a λ that a budget makes smaller.
        total = gradient + of_rate / state.lam
        total[~self._units.full] = 0
        if not np.isfinite(total).all():
            bad = self._units.names[int(np.argmin(np.isfinite(total).all(1)))]
            raise UsageError(
                f"the loss has no finite gradient in unit {bad!r} at step {state.step + 1}: check "
                "the forward function, or choose another loss"
            )
        state.move(total)
        state.reached |= self._units.reached
        return loss, softened

    def _backward(
        self, weights: dict[str, torch.Tensor], gradient: NDArray[np.float64], heat: float
    ) -> float:
        """The loss on this step's batch; fills its gradient in the scalars, [units, 7]."""
        anchor = torch.zeros((), requires_grad=True)
        handed = {
            name: hand(anchor, weight, self._sink(number, gradient, heat))
            for number, (name, weight) in enumerate(weights.items())
        }
        weights.clear()  # so that each is freed as soon as the backward pass is through with it
        chosen = self._chosen()
        with torch.enable_grad():
            logits = self._student.run(handed, self._inputs, chosen)
            handed.clear()
            wanted = self._teacher.view(self._examples, self._rows_of, -1)[chosen].flatten(0, 1)
            loss = self._loss(logits.float(), wanted)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise UsageError(
                f"the loss is {value} at step {self.state.step + 1}: the model gives NaN or "
                "infinity under compressed weights; try another loss or smaller inputs"
            )
        if not loss.requires_grad:
            raise UsageError(
                "the logits do not depend on the base's units: forward must run the model that it "
                "is given, with gradients"
            )
        torch.autograd.backward(loss)
        return value

    def _sink(
        self, number: int, gradient: NDArray[np.float64], heat: float
    ) -> Callable[[torch.Tensor], None]:
        def take(slopes: torch.Tensor) -> None:
            if self._units.full[number]:
                row = self.state.rows[number]
                gradient[number] += self._units.reduce(number, slopes, row, heat)

        return take

    def _describe(self, loss: float, softened: Softened, fixed_bytes: int) -> Step:
        kept = np.minimum(softened.gates[:, 0], self._units.sizes)
        widths = bits(self.state.rows, self._schedule.temperature(self.state.step))
        size = self.exact.bits_of(kept, widths).sum() / 8
        return Step(
            self.state.step,
            self._steps,
            loss,
            float(kept.sum()) / max(self._units.entries, 1),
            float(kept @ widths) / max(float(kept.sum()), 1e-12),
            int(fixed_bytes + size),
        )
