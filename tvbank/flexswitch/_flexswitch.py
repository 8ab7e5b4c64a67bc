"""``FlexSwitch``: what to keep, in how many bits and at what scale, learned from examples."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tvbank.checkpoint import TensorSpec
from tvbank.compress import Compressor, Entries, Pairs
from tvbank.compress.budget.target import Target
from tvbank.compress.lossy import is_float
from tvbank.compress.protocol import Each
from tvbank.errors import UsageError
from tvbank.flexswitch._learn import Learner
from tvbank.flexswitch._losses import LOSSES
from tvbank.flexswitch._relaxation import Relaxation, State
from tvbank.flexswitch._student import Forward, Inputs, Student, call, count_examples
from tvbank.flexswitch._weights import Weights
from tvbank.flexswitch.bytes.units import BytesUnits
from tvbank.flexswitch.paper.units import PaperUnits

#: Counts the changes of what equal settings mean: a resume file belongs to one of them.
_RULES = 2


@final
@dataclass(frozen=True, eq=False)
class FlexSwitch(Compressor):
    """Learned sparsity, bit widths and scales ([F] Eq. 6-15), from unlabelled examples.

    The compressed model learns to give the logits of the fine-tuned one. Only a few scalars a unit
    are learned; the model itself is not changed. Memory beside the two models and the activations:
    at most one and a half sets of weights.

    The paper's objective learns of each unit two thresholds, a scale, and a logit for each of 1, 2,
    4 and 8 bits. The objective of bytes, which every budget uses, draws entries at random as
    ``Budget`` does; it learns how many bytes each unit gets, and its scale, and of several draws
    stores the nearest to the fine-tune. It keeps more of the accuracy in the same bytes.

    Entries of zero stay zero. No entry changes its sign, at any width, and none that is kept
    becomes zero. Units that did not change take no bytes. Units that changed but that ``forward``
    does not use are compressed by ``TSwitch`` at the mean density of the others, or under the
    objective of bytes as ``Budget`` does. Units that the base lacks, such as heads, are kept whole
    as by any compressor, and are used for the logits if the model has them.

    Attributes:
        model: a torch module whose state dict is the bank's base, on any device. Neither its
            weights nor its mode change.
        inputs: examples along dimension 0: a tensor, or a dict of tensors.
        forward: called with a model and a batch of inputs; returns logits [batch, classes], or
            something that has them as ``logits``. By default ``model(batch)``, and for a dict
            ``model(**batch)``. It may run under ``torch.autocast``: with bfloat16 a step takes
            half the time on processors that have it.
        loss: ``"kl"``, ``"mse"`` or ``"cka"`` of the logits.
        lam: weight of the loss against the size, λ; larger keeps more. The paper's grids: kl
            0.1-0.9, mse 0.01-0.17, cka 1-9. It has no effect under a budget.
        steps: of the optimiser; over them gates and widths harden.
        batch: examples of a step.
        seed: of the order of the examples, and of the draws.
        objective: ``"paper"`` charges for open gates and bits ([F] Eq. 14), ``"bytes"`` for the
            bytes that the bank will store.
        budget: stored size to end at, such as ``"0.3 bits/param"``, ``"1.5 MiB"`` or ``"1 %"`` of
            the base. The objective is then that of bytes, and the exact size is at most 1.5 %
            below, if there is so much to keep.
        checkpoint: the resume file: a killed run that is started again with the same arguments
            goes on from it, to the same result.
    """

    model: nn.Module
    inputs: Inputs
    forward: Forward | None = None
    loss: Literal["kl", "mse", "cka"] = "kl"
    lam: float = 0.5
    steps: int = 500
    batch: int = 32
    seed: int = 0
    objective: Literal["paper", "bytes"] = "paper"
    budget: str | None = None
    checkpoint: str | os.PathLike[str] | None = None

    element: ClassVar[Literal["float32", "int32"]] = "float32"

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module):
            raise UsageError(f"model must be a torch module, not a {type(self.model).__name__}")
        if self.loss not in LOSSES:
            raise UsageError(f"loss must be one of {', '.join(LOSSES)}, got {self.loss!r}")
        if self.objective not in ("paper", "bytes"):
            raise UsageError(f"objective must be 'paper' or 'bytes', got {self.objective!r}")
        if self.budget is not None:
            Target.parse(self.budget)
        if not (math.isfinite(self.lam) and self.lam > 0):
            raise UsageError(f"lam must be a number above 0, got {self.lam!r}")
        for name, least in (("steps", 1), ("batch", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise UsageError(f"{name} must be an integer of at least {least}, got {value!r}")
        examples = count_examples(self.inputs)
        if examples < self.batch:
            raise UsageError(
                f"{examples} examples are fewer than a batch of {self.batch}: give more, or a "
                f"smaller batch (batch={max(examples, 1)}, --batch)"
            )
        if self.loss == "cka" and self.batch < 2:
            raise UsageError("loss='cka' compares the examples of a batch: batch must be 2 or more")

    def describe(self) -> dict[str, Any]:
        """See ``Compressor.describe``."""
        described = {
            "name": "flexswitch",
            "loss": self.loss,
            "lam": float(self.lam),
            "steps": self.steps,
            "batch": self.batch,
            "seed": self.seed,
            "objective": self._charged,
            "examples": count_examples(self.inputs),
        }
        return described if self.budget is None else described | {"budget": self.budget}

    @property
    def _charged(self) -> str:
        return self.objective if self.budget is None else "bytes"

    def accepts(self, base: TensorSpec, tuned: TensorSpec) -> bool:
        """See ``Compressor.accepts``."""
        return is_float(tuned.dtype)

    def plan(self, pairs: Pairs) -> Compressor:
        """Learn; see ``Compressor.plan``.

        Raises:
            BaseMismatchError: the model is not the base; names the units.
            NonFiniteError: NaN or infinity in a unit.
            UsageError: inputs or logits that the loss cannot use; a resume file of another run.
        """
        with torch.inference_mode(False), torch.enable_grad():
            student = Student(self.model, self.forward or call, pairs)
            weights = Weights(pairs, student.units)
            relaxation = self._relaxation(pairs, weights)
            run = self._fingerprint(pairs)
            path = None if self.checkpoint is None else Path(self.checkpoint)
            if path is not None and not path.parent.is_dir():
                raise UsageError(
                    f"there is no folder {path.parent} for the resume file {path.name}"
                )
            if path is not None and os.path.exists(path):
                start = relaxation.state
                relaxation.state = State.resume(path, run, start, self.steps)
            learner = Learner(
                student, weights, relaxation, self.inputs, self.loss, self.batch, self.seed
            )

            def save(state: State) -> None:
                if path is not None:
                    state.save(path, run)

            learner.run(self.steps, pairs.progress, save)
            return relaxation.finish(learner.distance)

    def prepare(
        self, unit: str, base: NDArray[Any], tuned: NDArray[Any], each: Each = map
    ) -> Entries:
        """Refuse: one unit alone teaches nothing.

        Raises:
            UsageError: always; ``plan`` returns the compressor that prepares units.
        """
        raise UsageError("FlexSwitch learns from a whole fine-tune: give it to bank.add")

    def _relaxation(self, pairs: Pairs, weights: Weights) -> Relaxation:
        lam, described = float(self.lam), self.describe()
        if self._charged == "paper":
            return PaperUnits(pairs, weights, lam, self.steps, described)
        goal = None
        if self.budget is not None:
            goal = Target.parse(self.budget).in_bytes(pairs.parameters, pairs.base_bytes)
        return BytesUnits(pairs, weights, goal, lam, self.steps, self.seed, described)

    def _fingerprint(self, pairs: Pairs) -> str:
        """A digest of the settings, the examples and the weights: a resume file belongs to it."""
        digest = hashlib.sha256(json.dumps([_RULES, self.describe()], sort_keys=True).encode())
        for unit in pairs.units:
            digest.update(repr((unit.name, unit.shape)).encode())
            for version in pairs.read(unit.name):
                digest.update(np.ascontiguousarray(version).reshape(-1).view(np.uint8).data)
        named = self.inputs.items() if isinstance(self.inputs, dict) else [("", self.inputs)]
        for name, tensor in named:
            array = tensor.detach().cpu().contiguous()
            digest.update(repr((name, tuple(array.shape), str(array.dtype))).encode())
            digest.update(array.view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()
