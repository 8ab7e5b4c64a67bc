"""The examples that a compressor learns from: tensors, made of whatever users have them in.

Texts are tokenised; data sets, lists of examples and ``DataLoader`` objects are laid end to end,
shorter sequences padded at their ends. Labels are left out: nothing here needs them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Final

import torch
from torch import nn

from tvbank.errors import UsageError

#: The inputs of a model: a tensor, or tensors by name; examples along dimension 0.
Inputs = torch.Tensor | dict[str, torch.Tensor]

#: What users may give for them; see ``FlexSwitch``.
Given = Any

_LABELS: Final = frozenset({"labels", "label", "label_ids"})
_MASK, _TOKENS = "attention_mask", "input_ids"
_WANTED: Final = (
    "inputs must be a tensor or a dict of tensors with the examples along dimension 0, a tokenised "
    "data set, a DataLoader, or texts with tokenizer="
)


def examples_of(given: Given, tokenizer: Any = None) -> Inputs:
    """The examples as tensors.

    Args:
        given: see ``FlexSwitch``.
        tokenizer: of transformers; its padding token fills up shorter sequences.

    Raises:
        UsageError: something else, or texts without a tokenizer.
    """
    if isinstance(given, torch.Tensor):
        return given
    if isinstance(given, Mapping):
        return dict(given)
    if hasattr(given, "with_format"):  # a data set of Hugging Face's
        given = given.with_format(None)
    if isinstance(given, Iterable) and not isinstance(given, str):
        parts = list(given)
    elif hasattr(given, "__getitem__") and hasattr(given, "__len__") and not isinstance(given, str):
        parts = [given[number] for number in range(len(given))]  # a data set of torch's
    else:
        raise UsageError(_WANTED)
    if parts and all(isinstance(part, str) for part in parts):
        return _tokenised(parts, tokenizer)
    batched = hasattr(given, "batch_size")
    fill = getattr(tokenizer, "pad_token_id", None) or 0
    rows = [_by_name(part, batched=batched) for part in parts]
    if not rows or any(row.keys() != rows[0].keys() or not row for row in rows):
        raise UsageError(_WANTED)
    if _TOKENS in rows[0] and _MASK not in rows[0]:
        for row in rows:
            row[_MASK] = torch.ones_like(row[_TOKENS])
    joined = {
        name: _laid_end_to_end([row[name] for row in rows], fill if name == _TOKENS else 0, name)
        for name in rows[0]
    }
    return joined[""] if joined.keys() == {""} else joined


def count_examples(inputs: Any) -> int:
    """Number of examples.

    Raises:
        UsageError: not a tensor nor a dict of tensors of equal length.
    """
    tensors = list(inputs.values()) if isinstance(inputs, Mapping) else [inputs]
    if not tensors or not all(isinstance(t, torch.Tensor) and t.ndim for t in tensors):
        raise UsageError(_WANTED)
    lengths = {len(tensor) for tensor in tensors}
    if len(lengths) > 1:
        shown = ", ".join(f"{name!r}: {len(t)}" for name, t in inputs.items())
        raise UsageError(f"the inputs have different numbers of examples ({shown})")
    return lengths.pop()


def check_mask(inputs: Inputs, mask: str) -> None:
    """Refuse a mask of tokens under which nothing is left of some example.

    Raises:
        UsageError: no such input, not [examples, tokens], or an example of padding alone.
    """
    if not isinstance(inputs, dict) or mask not in inputs:
        known = ", ".join(map(repr, inputs)) if isinstance(inputs, dict) else "one tensor"
        raise UsageError(f"mask={mask!r} names no input; there are {known}")
    tensor = inputs[mask]
    if tensor.ndim != 2:
        raise UsageError(f"the mask {mask!r} must be [examples, tokens], not {list(tensor.shape)}")
    if empty := (~tensor.bool().any(1)).nonzero().flatten().tolist():
        raise UsageError(
            f"example {empty[0]} is padding alone, by the mask {mask!r} ({len(empty)} in all): "
            "leave such examples out"
        )


def check_vocabulary(model: nn.Module, inputs: Inputs) -> None:
    """Refuse tokens that the model does not know.

    Raises:
        UsageError: a token beyond the model's embeddings.
    """
    if not isinstance(inputs, dict) or _TOKENS not in inputs or not inputs[_TOKENS].numel():
        return
    try:
        embeddings = model.get_input_embeddings()  # type: ignore[operator]
    except Exception:  # models of other libraries have none, or raise what they like
        return
    known = getattr(embeddings, "num_embeddings", None)
    largest, least = int(inputs[_TOKENS].max()), int(inputs[_TOKENS].min())
    if isinstance(known, int) and not 0 <= least <= largest < known:
        raise UsageError(
            f"the inputs hold the token {largest if largest >= known else least} and the model "
            f"knows {known}: tokenise them with the model's own tokenizer"
        )


def _tokenised(texts: list[str], tokenizer: Any) -> Inputs:
    if tokenizer is None:
        raise UsageError("inputs are texts: give tokenizer=, the model's own, or tensors")
    if getattr(tokenizer, "pad_token", "") is None:
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.pad_token = tokenizer.eos_token
    try:
        made = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        return {name: tensor for name, tensor in made.items() if isinstance(tensor, torch.Tensor)}
    except Exception as error:
        raise UsageError(
            f"the tokenizer cannot make tensors of the texts ({type(error).__name__}: {error})"
        ) from error


def _by_name(part: Any, *, batched: bool) -> dict[str, torch.Tensor]:
    """An example, or a batch of them, as tensors by name; "" names one without a name."""
    if isinstance(part, list | tuple) and part:
        part = part[0]  # inputs and labels
    named = part if isinstance(part, Mapping) else {"": part}
    if not isinstance(part, Mapping) and not getattr(part, "ndim", 0):
        raise UsageError(_WANTED)
    tensors = {}
    for name, value in named.items():
        if name in _LABELS:
            continue
        try:
            tensor = torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError):
            continue  # texts and the like
        tensors[str(name)] = tensor if batched else tensor[None]
    return tensors


def _laid_end_to_end(tensors: list[torch.Tensor], fill: int, name: str) -> torch.Tensor:
    """Batches along dimension 0, sequences filled up at their ends."""
    if any(tensor.ndim != tensors[0].ndim or not tensor.ndim for tensor in tensors):
        raise UsageError(f"the examples differ in shape{f' ({name!r})' if name else ''}")
    if tensors[0].ndim == 2:
        longest = max(tensor.shape[1] for tensor in tensors)
        tensors = [
            nn.functional.pad(tensor, (0, longest - tensor.shape[1]), value=fill)
            for tensor in tensors
        ]
    try:
        return torch.cat(tensors)
    except RuntimeError as error:
        raise UsageError(
            f"the examples differ in shape{f' ({name!r})' if name else ''}: {error}"
        ) from error
