"""``generate``: prompts by task, and what was generated put back in their order."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch

from tvbank.autoswitch._batch import Batch, Inputs, Part, form
from tvbank.errors import UsageError

#: Parameters of ``generate`` that hold something for every prompt.
_BY_PROMPT = {"inputs", "negative_prompt_ids", "negative_prompt_attention_mask", "kwargs"}


@final
@dataclass(frozen=True)
class Prompts:
    """What a call of ``generate`` was given.

    Attributes:
        batch: inputs of the model, one an example.
        options: everything else, the same for all.
    """

    batch: Batch
    options: dict[str, Any]

    def features(self, model: torch.nn.Module) -> Batch:
        """The inputs of the pass that a router looks at: that of the first step.

        Padding on the left moves no token from its place, and a decoder begins where it would.
        """
        inputs: dict[str, Any] = dict(self.batch.inputs)
        taken = _parameters(model.forward)
        mask = inputs.get("attention_mask")
        if mask is not None and _is_left_padded(mask) and "position_ids" in taken:
            inputs.setdefault("position_ids", (mask.long().cumsum(-1) - 1).clamp(min=0))
        if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
            start = self._setting(model, "decoder_start_token_id", "bos_token_id")
            if start is not None and "decoder_input_ids" in taken:
                first = torch.full((self.batch.size, 1), start, device=_device_of(inputs))
                inputs.setdefault("decoder_input_ids", first)
        return Batch(inputs)

    def joined(self, parts: Sequence[Part], model: torch.nn.Module) -> Any:
        """All sequences, in the order of the prompts, padded on the right as ``generate`` pads.

        Raises:
            UsageError: more than sequences was asked for, or nothing is known to pad with.
        """
        if len(parts) == 1:
            return parts[0][1]
        found = _sequences(parts)
        several = len(found[0]) // len(parts[0][0])
        length = max(sequences.shape[1] for sequences in found)
        padded = [self._padded(sequences, length, model) for sequences in found]
        joined = padded[0].new_empty((several * self.batch.size, *padded[0].shape[1:]))
        for (rows, _), sequences in zip(parts, padded, strict=True):
            places = rows[:, None] * several + np.arange(several)
            joined[torch.from_numpy(places.reshape(-1)).to(joined.device)] = sequences
        return joined

    def listed(self, parts: Sequence[Part]) -> list[torch.Tensor]:
        """The sequences of each prompt, [sequences, length], in the order of the prompts.

        Raises:
            UsageError: more than sequences was asked for.
        """
        outputs: list[Any] = [None] * self.batch.size
        for (rows, _), sequences in zip(parts, _sequences(parts), strict=True):
            for row, own in zip(rows.tolist(), sequences.chunk(len(rows)), strict=True):
                outputs[row] = own
        return outputs

    def _padded(self, sequences: torch.Tensor, length: int, model: torch.nn.Module) -> torch.Tensor:
        missing = length - sequences.shape[1]
        if not missing:
            return sequences
        pad = self._setting(model, "pad_token_id", "eos_token_id")
        if pad is None or sequences.is_floating_point() or sequences.ndim != 2:
            raise UsageError(
                "what was generated differs in length between tasks, and nothing is known to pad "
                "it with: give pad_token_id=, or AutoSwitch(..., outputs='list')"
            )
        return torch.nn.functional.pad(sequences, (0, missing), value=pad)

    def _setting(self, model: torch.nn.Module, *names: str) -> int | None:
        """The first of some token ids that is set, where ``generate`` would look for it."""
        given = self.options.get("generation_config")
        places = [self.options, given, getattr(model, "generation_config", None)]
        for name in names:
            for place in [*places, getattr(model, "config", None)]:
                value = place.get(name) if isinstance(place, dict) else getattr(place, name, None)
                if isinstance(value, torch.Tensor):
                    value = value.tolist()
                if isinstance(value, Sequence):
                    value = next(iter(value), None)
                if value is not None:
                    return int(value)
        return None


def prompts_of(model: torch.nn.Module, inputs: Inputs | None, named: Mapping[str, Any]) -> Prompts:
    """Tell prompts from options.

    Args:
        model: that generates.
        inputs: as ``generate`` takes them: the model's main input, or a mapping of inputs by name.
        named: inputs and options by name.

    Raises:
        UsageError: a model that cannot generate, no prompts, different numbers of them, or a cache.
    """
    if not callable(getattr(model, "generate", None)):
        raise UsageError(f"a {type(model).__name__} has no generate: call the AutoSwitch instead")
    config = getattr(model, "generation_config", None)
    settings = set(_parameters(model.generate)) - _BY_PROMPT | set(vars(config) if config else ())
    every = dict(named)
    if isinstance(inputs, Mapping):
        every = {**inputs, **every}
    elif inputs is not None:
        every[getattr(model, "main_input_name", "input_ids")] = inputs
    given = {name: value for name, value in every.items() if name not in settings}
    if not any(isinstance(value, torch.Tensor) for value in given.values()):
        raise UsageError("there is no prompt to route: give input_ids, or another tensor of inputs")
    return Prompts(Batch(given), {name: v for name, v in every.items() if name in settings})


def _sequences(parts: Sequence[Part]) -> list[torch.Tensor]:
    """The sequences of every group, as many of each prompt.

    Raises:
        UsageError: something else than a tensor of sequences was returned.
    """
    for rows, found in parts:
        if not isinstance(found, torch.Tensor):
            raise UsageError(
                f"generate returned a {type(found).__name__} for prompts of several tasks: what is "
                "in it beside the sequences has no common order; leave out return_dict_in_generate"
            )
        if not found.ndim or len(found) % len(rows):
            raise UsageError(f"generate returned {form(found)} for {len(rows)} prompts")
    several = {len(found) // len(rows) for rows, found in parts}
    if len(several) > 1:
        raise UsageError(f"generate returned different numbers of sequences a prompt: {several}")
    return [found for _, found in parts]


def _parameters(function: Any) -> frozenset[str]:
    """Names of a function's parameters; none where they cannot be known."""
    try:
        return frozenset(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return frozenset()


def takes(model: torch.nn.Module, name: str) -> bool:
    """Whether a model's forward has a parameter of a name."""
    return name in _parameters(model.forward)


def _is_left_padded(mask: object) -> bool:
    return isinstance(mask, torch.Tensor) and mask.ndim == 2 and bool((mask[:, 0] == 0).any())


def _device_of(inputs: Mapping[str, Any]) -> torch.device:
    return next(v.device for v in inputs.values() if isinstance(v, torch.Tensor))
