"""``FlexSwitch``: what to keep, in how many bits and at what scale, learned from examples."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
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
from tvbank.compress.budget.tolerance import Evaluate, Found, Searching, check_search
from tvbank.compress.lossy import is_float
from tvbank.compress.protocol import Each
from tvbank.errors import UsageError
from tvbank.flexswitch._inputs import (
    Given,
    Inputs,
    check_mask,
    check_vocabulary,
    count_examples,
    examples_of,
)
from tvbank.flexswitch._learn import Comparison, Learner
from tvbank.flexswitch._losses import LOSSES
from tvbank.flexswitch._relaxation import Relaxation, State
from tvbank.flexswitch._student import LOGITS, Forward, Student, call
from tvbank.flexswitch._weights import Weights
from tvbank.flexswitch.bytes.units import BytesUnits
from tvbank.flexswitch.paper.units import PaperUnits

#: Counts the changes of what equal settings mean: a resume file belongs to one of them.
_RULES = 3

#: Bytes of the base above which modules have their weights only while they run.
LENT = 2**28

#: The input that masks tokens, by its usual name.
_MASK = "attention_mask"


@final
@dataclass(frozen=True, eq=False)
class FlexSwitch(Searching):
    """Learned sparsity, bit widths and scales ([F] Eq. 6-15), from unlabelled examples.

    The compressed model learns to give the logits of the fine-tuned one. Only a few scalars a unit
    are learned; the model itself is not changed. Memory beside the two models and the activations:
    at most one and a half sets of weights; and the fine-tuned model's outputs for all examples, or
    where these would take more than 256 MiB, as those of language models do, another set of
    weights, with which they are made batch by batch. Of a base of more than 256 MiB neither set is
    made: modules have their weights only while they run, and those that a gradient needs are made
    again, so that a few units exist at a time. Weights that several modules share then get their
    gradients one by one. Models that read weights past their modules' calls take whole sets.

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
        inputs: examples along dimension 0: a tensor, or a dict of tensors; or what they can be made
            of: a list of texts with ``tokenizer``, a tokenised data set or list of dicts, whose
            sequences are padded, a ``DataLoader``. Labels are left out.
        forward: called with a model and a batch of inputs; returns logits [batch, classes] or
            [batch, tokens, classes], or something that has them as ``logits``. By default
            ``model(batch)``, and for a dict ``model(**batch)``. It may run under
            ``torch.autocast``: with bfloat16 a step takes half the time on processors that have it.
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
        ablation: under the paper's objective, what is learned alone: ``"lgs"`` the gates and their
            scale, over entries as they are, in 32 bits; ``"bas"`` the bit widths, of all entries.
        mask: the input [examples, tokens] that says which tokens count, where there is a row of
            logits for each: the loss is that of an average token. By default ``attention_mask``, if
            the inputs have it; ``None`` counts all.
        outputs: names of what the model returns, to be compared instead of ``logits``; or a mapping
            of names to the weights of their losses.
        tokenizer: of transformers, for inputs that are texts, or examples to be padded.
        gradient_checkpointing: whether the activations within the model's blocks are computed again
            for the gradient instead of kept: a step takes a third longer, and much less memory.
        tolerance: instead of a budget, how much worse than the fine-tune the task may be; see
            ``Budget``. Each size that is tried is learned anew.
        evaluate: for a tolerance; see ``Budget``.
        found: what the search for a tolerance found.
        checkpoint: the resume file: a killed run that is started again with the same arguments
            goes on from it, to the same result.
        products: under a budget: whether what ``Budget(products=True)`` keeps is stored instead of
            what was learned, if the outputs of the examples are nearer to the fine-tune's with it.
    """

    model: nn.Module
    inputs: Given
    forward: Forward | None = None
    loss: Literal["kl", "mse", "cka"] = "kl"
    lam: float = 0.5
    steps: int = 500
    batch: int = 32
    seed: int = 0
    objective: Literal["paper", "bytes"] = "paper"
    budget: str | None = None
    checkpoint: str | os.PathLike[str] | None = None
    mask: str | None = _MASK
    outputs: Sequence[str] | Mapping[str, float] | None = None
    tokenizer: Any = None
    gradient_checkpointing: bool = False
    tolerance: str | None = None
    evaluate: Evaluate | None = None
    found: Found | None = None
    ablation: Literal["lgs", "bas"] | None = None
    products: bool = False

    element: ClassVar[Literal["float32", "int32"]] = "float32"

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module):
            raise UsageError(f"model must be a torch module, not a {type(self.model).__name__}")
        if self.loss not in LOSSES:
            raise UsageError(f"loss must be one of {', '.join(LOSSES)}, got {self.loss!r}")
        if self.objective not in ("paper", "bytes"):
            raise UsageError(f"objective must be 'paper' or 'bytes', got {self.objective!r}")
        if self.ablation not in (None, "lgs", "bas"):
            raise UsageError(f"ablation must be 'lgs' or 'bas', got {self.ablation!r}")
        if self.ablation is not None and (
            self.objective != "paper" or self.budget is not None or self.tolerance is not None
        ):
            raise UsageError(
                "ablation= belongs to the paper's objective: leave out budget=, tolerance= and "
                "objective='bytes'"
            )
        if self.budget is not None:
            Target.parse(self.budget)
        check_search(self.budget, self.tolerance, self.evaluate)
        if self.tolerance is not None and self.checkpoint is not None:
            raise UsageError("a resume file is of one size: leave checkpoint= out with a tolerance")
        if not (math.isfinite(self.lam) and self.lam > 0):
            raise UsageError(f"lam must be a number above 0, got {self.lam!r}")
        for name, least in (("steps", 1), ("batch", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise UsageError(f"{name} must be an integer of at least {least}, got {value!r}")
        object.__setattr__(self, "inputs", examples_of(self.inputs, self.tokenizer))
        examples = count_examples(self.inputs)
        if (mask := self._mask()) is not None:
            check_mask(self.inputs, mask)
        check_vocabulary(self.model, self.inputs)
        self._weighted_outputs()
        if examples < self.batch:
            raise UsageError(
                f"{examples} examples are fewer than a batch of {self.batch}: give more, or a "
                f"smaller batch (batch={max(examples, 1)}, --batch)"
            )
        if self.loss == "cka" and self.batch < 2:
            raise UsageError("loss='cka' compares the examples of a batch: batch must be 2 or more")

    def describe(self) -> dict[str, Any]:
        """See ``Compressor.describe``."""
        described: dict[str, Any] = {
            "name": "flexswitch",
            "loss": self.loss,
            "lam": float(self.lam),
            "steps": self.steps,
            "batch": self.batch,
            "seed": self.seed,
            "objective": self._charged,
            "examples": count_examples(self.inputs),
        }
        if self.ablation is not None:
            described["ablation"] = self.ablation
        if (mask := self._mask()) is not None:
            described["mask"] = mask
        if self.outputs is not None:
            described["outputs"] = self._weighted_outputs()
        if self.products:
            described["products"] = True
        return described if self.budget is None else described | {"budget": self.budget}

    def _mask(self) -> str | None:
        """The input that masks tokens; the usual one need not be there."""
        named = isinstance(self.inputs, dict) and _MASK in self.inputs
        return None if self.mask == _MASK and not named else self.mask

    def _weighted_outputs(self) -> dict[str, float]:
        given = self.outputs
        if given is None:
            return {LOGITS: 1.0}
        if isinstance(given, str):
            given = [given]
        weights = dict(given) if isinstance(given, Mapping) else dict.fromkeys(given, 1.0)
        for name, weight in weights.items():
            number = isinstance(weight, int | float) and math.isfinite(weight)
            if not isinstance(name, str) or not number or weight <= 0:
                raise UsageError(
                    f"outputs= names what the model returns, with weights above 0, not {name!r}: "
                    f"{weight!r}"
                )
        if not weights:
            raise UsageError("outputs= is empty: name at least one")
        return {name: float(weight) for name, weight in weights.items()}

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
        if self.products and self.budget is None:
            raise UsageError("products=True is for a budget: give one, such as budget='0.35 %'")
        if self.tolerance is not None:
            raise UsageError("a tolerance is looked for by bank.add: plan knows only sizes")
        with torch.inference_mode(False), torch.enable_grad():
            outputs = self._weighted_outputs()
            student = Student(
                self.model, self.forward or call, pairs, list(outputs),
                recompute=self.gradient_checkpointing, lend=pairs.base_bytes > LENT,
            )  # fmt: skip
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
            comparison = Comparison(self.loss, outputs, self._mask())
            learner = Learner(
                student, weights, relaxation, self.inputs, comparison, self.batch, self.seed
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
            return PaperUnits(pairs, weights, lam, self.steps, described, self.ablation)
        goal = None
        if self.budget is not None:
            goal = Target.parse(self.budget).in_bytes(pairs.parameters, pairs.base_bytes)
        products = self.budget if self.products else None
        return BytesUnits(pairs, weights, goal, lam, self.steps, self.seed, described, products)

    def _fingerprint(self, pairs: Pairs) -> str:
        """A digest of the settings, the examples and the weights: a resume file belongs to it."""
        digest = hashlib.sha256(json.dumps([_RULES, self.describe()], sort_keys=True).encode())
        for unit in pairs.units:
            digest.update(repr((unit.name, unit.shape)).encode())
            for version in pairs.read(unit.name):
                digest.update(np.ascontiguousarray(version).reshape(-1).view(np.uint8).data)
        inputs: Inputs = self.inputs
        named = inputs.items() if isinstance(inputs, dict) else [("", inputs)]
        for name, tensor in named:
            array = tensor.detach().cpu().contiguous()
            digest.update(repr((name, tuple(array.shape), str(array.dtype))).encode())
            digest.update(array.view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()
