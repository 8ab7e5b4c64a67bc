"""The fine-tuned model's outputs: all of them kept, or made anew for every batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

import torch

from tvbank.errors import UsageError
from tvbank.flexswitch._inputs import Inputs, count_examples
from tvbank.flexswitch._student import Outputs, Student
from tvbank.flexswitch._weights import Made, Weights

#: Bytes of outputs that are kept; of more, which sequences have, each batch is made anew.
KEPT: Final = 2**28


@final
class Teacher:
    """What the student is compared with.

    Attributes:
        outputs: of all examples, float32 [examples, rows, classes] each; ``None`` if they are made
            batch by batch, since they would take more than ``KEPT`` bytes.
    """

    def __init__(self, student: Student, weights: Weights, inputs: Inputs, batch: int) -> None:
        """Run the fine-tuned model on a batch, and on all of them if their outputs are to be kept.

        If the student lends its modules their weights and that fails, it does so no more.

        Raises:
            UsageError: what the model returns is no output for each example.
        """
        self._student, self._inputs = student, inputs
        self.outputs: Outputs | None = None
        self._weights: Mapping[str, torch.Tensor] = Made(weights, weights.tuned)
        examples = count_examples(inputs)
        first: Outputs | None = None
        if student.lends:
            try:
                first = self._run(slice(0, batch))
            except Exception:  # whatever models raise that read tensors past their modules
                student.lend_no_more()
        if first is None:
            self._weights = weights.make(weights.tuned)
            first = self._run(slice(0, batch))
        size = sum(4 * output.numel() for output in first)
        if size * examples > KEPT * min(batch, examples):
            return
        rest = [self._run(slice(at, at + batch)) for at in range(batch, examples, batch)]
        self.outputs = tuple(torch.cat(parts) for parts in zip(first, *rest, strict=True))
        self._weights = {}

    def of(self, chosen: Any) -> Outputs:
        """The outputs of some examples.

        Raises:
            UsageError: NaN or infinity among them.
        """
        if self.outputs is not None:
            return tuple(output[chosen] for output in self.outputs)
        outputs = self._run(chosen)
        if not all(bool(output.isfinite().all()) for output in outputs):
            raise UsageError("the fine-tuned model gives NaN or infinite logits for some inputs")
        return outputs

    @torch.no_grad()
    def _run(self, chosen: Any) -> Outputs:
        outputs = self._student.run(self._weights, self._inputs, chosen)
        return tuple(output.float() for output in outputs)
