"""The loop: batches of examples, the loss on each, and its gradient in every unit's weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import numpy as np
import torch

from tvbank._progress import Progress
from tvbank.errors import UsageError
from tvbank.flexswitch._inputs import Inputs, count_examples
from tvbank.flexswitch._losses import check_logits, compare
from tvbank.flexswitch._relaxation import SAVE_EVERY, Relaxation, State
from tvbank.flexswitch._student import Outputs, Student
from tvbank.flexswitch._teacher import Teacher
from tvbank.flexswitch._weights import Fill, Made, Weights

#: Called with the gradient in a unit's weights.
_Receiver = Callable[[torch.Tensor], None]


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
@dataclass(frozen=True)
class Comparison:
    """How a student is compared with its teacher.

    Attributes:
        loss: ``"kl"``, ``"mse"`` or ``"cka"``.
        outputs: names of what the model returns, with the weights of their losses.
        mask: the input that says which tokens count; ``None`` if all do.
    """

    loss: str
    outputs: Mapping[str, float]
    mask: str | None = None

    def rows(self, output: torch.Tensor, inputs: Inputs, chosen: Any) -> torch.Tensor:
        """Those rows of an output [examples, rows, classes] that count, [n, classes].

        Raises:
            UsageError: the mask has another number of tokens.
        """
        if self.mask is None or output.shape[1] == 1 or not isinstance(inputs, dict):
            return output.flatten(0, 1)
        mask = inputs[self.mask][chosen].to(output.device) != 0
        if mask.shape != output.shape[:2]:
            raise UsageError(
                f"the mask {self.mask!r} has {mask.shape[1]} tokens an example and the model "
                f"gives {output.shape[1]} rows of logits: name another mask, or none (mask=None)"
            )
        return output[mask]


@final
class Learner:
    """One run: the teacher's logits, then steps until there are enough."""

    def __init__(
        self,
        student: Student,
        weights: Weights,
        relaxation: Relaxation,
        inputs: Inputs,
        comparison: Comparison,
        batch: int,
        seed: int,
    ) -> None:
        """Run the fine-tuned model, the teacher.

        Raises:
            UsageError: logits that the loss cannot compare.
        """
        self._student, self._relaxation, self._inputs = student, relaxation, inputs
        self._weights, self._examples = weights, count_examples(inputs)
        self._numbers = {name: number for number, name in enumerate(weights.names)}
        self._still = {name for name in student.buffers if self._is_unchanged(name)}
        self._batch, self._seed, self._comparison = batch, seed, comparison
        self._teacher = Teacher(student, weights, inputs, batch)
        kept = self._teacher.outputs
        seen = slice(0, batch) if kept is None else slice(None)
        for output in self._teacher.of(seen):
            check_logits(comparison.loss, comparison.rows(output, inputs, seen))

    def run(
        self,
        steps: int,
        progress: Progress,
        save: Callable[[State], object],
    ) -> None:
        """Learn until all steps are done, counting those of the run that is resumed.

        Args:
            steps: of the optimiser, in all.
            progress: is shown every step, with a ``Step`` as the detail.
            save: called with the state every 25 steps, and at the end.
        """
        state = self._relaxation.state
        while state.step < steps:
            loss = self._backward(state.step)
            self._relaxation.step()
            now = self._relaxation.estimate()
            step = Step(state.step, steps, loss, now.density, now.bits, now.bytes)
            progress.report("learning", state.step, steps, "steps", step)
            if state.step % SAVE_EVERY == 0 or state.step == steps:
                save(state)

    @torch.no_grad()
    def distance(self, fill: Fill) -> float:
        """The loss on all examples with the weights that are filled in.

        Where the teacher's outputs are not kept, the mean of the losses of batches.
        """
        weights = Made(self._weights, fill) if self._student.lends else self._weights.make(fill)
        starts = range(0, self._examples, self._batch)
        parts = [slice(start, start + self._batch) for start in starts]
        if self._teacher.outputs is not None:
            runs = [self._student.run(weights, self._inputs, part) for part in parts]
            student = tuple(
                torch.cat([o.float() for o in some]) for some in zip(*runs, strict=True)
            )
            return float(self._loss(student, self._teacher.outputs, slice(None)))
        total = 0.0
        for part in parts:
            student = self._student.run(weights, self._inputs, part)
            share = len(student[0]) / self._examples
            total += float(self._loss(student, self._teacher.of(part), part)) * share
        return total

    def _loss(self, student: Outputs, teacher: Outputs, chosen: Any) -> torch.Tensor:
        """The weighted sum of the losses of all outputs, for some examples."""
        how, inputs = self._comparison, self._inputs
        losses = [
            weight
            * compare(how.loss, how.rows(mine, inputs, chosen), how.rows(its, inputs, chosen))
            for mine, its, weight in zip(student, teacher, how.outputs.values(), strict=True)
        ]
        return torch.stack(losses).sum() if len(losses) > 1 else losses[0]

    def _chosen(self, step: int) -> torch.Tensor:
        """Indices of a step's examples: a new order every epoch, full batches only."""
        epoch, place = divmod(step, self._examples // self._batch)
        order = np.random.default_rng([self._seed, epoch]).permutation(self._examples)
        return torch.from_numpy(order[place * self._batch : (place + 1) * self._batch])

    def _backward(self, step: int) -> float:
        """The loss on a step's batch; the relaxation receives its gradient."""
        start = torch.zeros((), requires_grad=True)
        chosen = self._chosen(step)
        teacher = self._teacher.of(chosen)
        fill = self._relaxation.filling()
        with torch.enable_grad():
            if self._student.lends:
                made = Made(self._weights, fill)
                watched = _Watched(made, partial(self._watch, start))
                outputs = self._student.run(watched, self._inputs, chosen, made)
            else:
                given = self._weights.make(fill)
                for name in self._numbers:
                    given[name] = self._watch(start, name, given[name])
                outputs = self._student.run(given, self._inputs, chosen)
                given.clear()  # the graph alone holds the weights, and frees them as it goes back
            loss = self._loss(outputs, teacher, chosen)
            del outputs, teacher
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

    def _is_unchanged(self, name: str) -> bool:
        return np.array_equal(*self._weights.both(self._numbers[name]))

    def _watch(self, start: torch.Tensor, name: str, weight: torch.Tensor) -> torch.Tensor:
        if name in self._still:  # batch normalisation allows no gradient of what it has counted
            return weight
        receive = partial(self._relaxation.add_gradient, self._numbers[name])
        return _observe(start, weight, receive)


@final
class _Watched(Mapping[str, torch.Tensor]):
    """Weights each of which is passed through a function when it is looked up."""

    def __init__(self, made: Made, watch: Callable[[str, torch.Tensor], torch.Tensor]) -> None:
        self._made, self._watch = made, watch

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._watch(name, self._made[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


class _Observed(torch.autograd.Function):
    """See ``_observe``."""

    @staticmethod
    def forward(
        ctx: Any, start: torch.Tensor, weight: torch.Tensor, receive: _Receiver
    ) -> torch.Tensor:
        """The weight itself."""
        ctx.receive = receive
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[None, None, None]:
        """Call the receiver; no argument of ``forward`` gets a gradient."""
        ctx.receive(gradients[0])
        return None, None, None


def _observe(start: torch.Tensor, weight: torch.Tensor, receive: _Receiver) -> torch.Tensor:
    """A weight for the model whose gradient is passed to a function and not stored.

    So the gradients of all units never exist at the same time.

    Args:
        start: any tensor that requires a gradient, so that autograd goes back as far as here.
        weight: of a unit.
        receive: called with the gradient in the weight.
    """
    observed: torch.Tensor = _Observed.apply(start, weight, receive)  # type: ignore[no-untyped-call]
    return observed
