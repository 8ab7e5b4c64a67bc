"""The optimisation: batches of examples, a loss, and its gradient for a relaxation of the units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch

from tvbank._progress import Progress
from tvbank.errors import UsageError
from tvbank.flexswitch._losses import LOSSES, check_logits
from tvbank.flexswitch._relaxation import Relaxation
from tvbank.flexswitch._state import State
from tvbank.flexswitch._student import Inputs, Student

#: Steps between checkpoints.
_SAVE_EVERY = 25
#: Takes the gradient in a weight.
_Sink = Callable[[torch.Tensor], None]


@final
@dataclass(frozen=True)
class Step:
    """Where the learning is.

    Attributes:
        step: steps done.
        steps: in all.
        loss: distance from the fine-tuned model on the last batch.
        density: share of entries that are kept; while gates are soft, their sum.
        bits: mean bits of a kept entry.
        bytes: what the task would take in the bank, estimated.
    """

    step: int
    steps: int
    loss: float
    density: float
    bits: float
    bytes: int

    def __str__(self) -> str:
        return (
            f"loss {self.loss:.3g}, density {self.density:.2%}, {self.bits:.1f} bits, "
            f"{self.bytes / 1024:.0f} KiB"
        )


@final
class Learner:
    """One run: the teacher's logits, then steps until there are enough."""

    def __init__(
        self,
        student: Student,
        relaxation: Relaxation,
        inputs: Inputs,
        examples: int,
        loss: str,
        batch: int,
        seed: int,
    ) -> None:
        """Compute the teacher's logits.

        Raises:
            UsageError: logits that the loss cannot compare.
        """
        self._student, self._relaxation, self._inputs = student, relaxation, inputs
        self._examples, self._batch, self._seed = examples, batch, seed
        self._loss = LOSSES[loss]
        self._teacher, self._rows_of = self._teach()
        check_logits(loss, self._teacher)

    def run(
        self,
        steps: int,
        progress: Progress,
        save: Callable[[State], object],
    ) -> None:
        """Learn until all steps are done, those of an earlier run that is resumed included.

        Args:
            steps: of the optimiser, in all.
            progress: is shown every step, with a ``Step`` as the detail.
            save: called with the state every now and then, and at the end.
        """
        state = self._relaxation.state
        while state.step < steps:
            loss = self._backward(state.step)
            self._relaxation.move()
            seen = self._relaxation.outlook()
            step = Step(state.step, steps, loss, seen.density, seen.bits, seen.bytes)
            progress.report("learning", state.step, steps, "steps", step)
            if state.step % _SAVE_EVERY == 0 or state.step == steps:
                save(state)

    def distance(self, weights: dict[str, torch.Tensor]) -> float:
        """The loss on all examples under some weights, by name of the unit."""
        return float(self._loss(self._logits(weights), self._teacher))

    def _teach(self) -> tuple[torch.Tensor, int]:
        """Logits of the fine-tuned model for all examples, and rows of logits an example has."""
        logits = self._logits(self._relaxation.tuned())
        if len(logits) % self._examples:
            raise UsageError(
                f"forward gives {len(logits)} rows of logits for {self._examples} examples; it "
                "must give [batch, classes]"
            )
        return logits, len(logits) // self._examples

    @torch.no_grad()
    def _logits(self, weights: dict[str, torch.Tensor]) -> torch.Tensor:
        """Logits for all examples."""
        parts = []
        for start in range(0, self._examples, self._batch):
            chosen = slice(start, start + self._batch)
            parts.append(self._student.run(weights, self._inputs, chosen).float())
        return torch.cat(parts)

    def _chosen(self, step: int) -> torch.Tensor:
        """Indices of this step's examples: every epoch a new order, whole batches only."""
        epoch, place = divmod(step, self._examples // self._batch)
        order = np.random.default_rng([self._seed, epoch]).permutation(self._examples)
        return torch.from_numpy(order[place * self._batch : (place + 1) * self._batch])

    def _backward(self, step: int) -> float:
        """The loss on a step's batch; its gradient goes to the relaxation."""
        anchor = torch.zeros((), requires_grad=True)
        weights = self._relaxation.weights()
        handed = {
            name: _hand(anchor, weights.pop(name), self._sink(number))  # freed when passed through
            for number, name in enumerate(self._relaxation.names)
        }
        chosen = self._chosen(step)
        with torch.enable_grad():
            logits = self._student.run(handed, self._inputs, chosen)
            handed.clear()
            wanted = self._teacher.view(self._examples, self._rows_of, -1)[chosen].flatten(0, 1)
            loss = self._loss(logits.float(), wanted)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise UsageError(
                f"the loss is {value} at step {step + 1}: the model gives NaN or "
                "infinity under compressed weights; try another loss or smaller inputs"
            )
        if not loss.requires_grad:
            raise UsageError(
                "the logits do not depend on the base's units: forward must run the model that it "
                "is given, with gradients"
            )
        torch.autograd.backward(loss)
        return value

    def _sink(self, number: int) -> _Sink:
        return lambda slopes: self._relaxation.take(number, slopes)


class _Handed(torch.autograd.Function):
    """See ``_hand``."""

    @staticmethod
    def forward(ctx: Any, anchor: torch.Tensor, weight: torch.Tensor, sink: _Sink) -> torch.Tensor:
        """Pass the weight on."""
        ctx.sink = sink
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[None, None, None]:
        """Give the gradient away."""
        ctx.sink(gradients[0])
        return None, None, None


def _hand(anchor: torch.Tensor, weight: torch.Tensor, sink: _Sink) -> torch.Tensor:
    """A weight for the model whose gradient is given to ``sink`` and then forgotten.

    Args:
        anchor: any tensor that requires a gradient.
        weight: of a unit.
        sink: called with the gradient in the weight.
    """
    handed: torch.Tensor = _Handed.apply(anchor, weight, sink)  # type: ignore[no-untyped-call]
    return handed
