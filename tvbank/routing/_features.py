"""Features of inputs: what chosen modules of the base return, pooled to one row an example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tvbank.errors import UsageError
from tvbank.routing._inputs import MASK, Forward, Inputs, batches, checked_inputs, count, run_model
from tvbank.routing._pooling import pool
from tvbank.routing._taps import tapped_outputs, undisturbed
from tvbank.routing.recipe import BEFORE_CLASSIFIER, Recipe, names_of

#: Which tokens count: a tensor [n, t], ``False`` for all, ``None`` for the inputs' own mask.
Mask = torch.Tensor | Literal[False] | None


def features(
    model: nn.Module,
    inputs: Inputs,
    at: str | Sequence[str] | Recipe = BEFORE_CLASSIFIER,
    *,
    forward: Forward | None = None,
    mask: Mask = None,
    pooling: str = "auto",
    batch: int = 64,
) -> NDArray[np.float32]:
    """Features of inputs, f_ex(x; Θ) of [F] Eq. 5, from any layer.

    The model runs in evaluation mode, without gradients, and no further than the deepest module
    named; afterwards it is as it was, whatever happened.

    Args:
        model: with the base's weights, on any device and of any element type.
        inputs: a tensor, or a dict of tensors, examples along dimension 0; they are moved to the
            device of the model's first parameter.
        at: names of modules, as ``model.named_modules()`` has them; several are concatenated. By
            default what enters the linear layer that makes the output; of a model whose output no
            linear layer makes, such as a bare encoder, the output. Or a router's ``recipe``.
        forward: called with the model and a batch; ``model(batch)``, or ``model(**batch)`` of a
            dict.
        mask: [n, t], non-zero for tokens that count; by default ``inputs["attention_mask"]`` if
            there is one; ``False`` to average over all tokens.
        pooling: ``"auto"``, ``"tokens"``, ``"maps"``, ``"first"`` or ``"summary"``, see ``Recipe``.
        batch: examples a pass.

    Returns:
        float32 [n, d].

    Raises:
        UsageError: a module that is not there or not called, inputs or a mask that do not fit.
    """
    recipe = at if isinstance(at, Recipe) else Recipe(names_of(at), pooling)
    parts = tapped_features(model, inputs, recipe.at, forward, mask, recipe.pooling, batch)
    found = np.concatenate(parts, axis=1)
    if recipe.width and found.shape[1] != recipe.width:
        raise UsageError(
            f"the model has {found.shape[1]} features at {list(recipe.at)}, the recipe says "
            f"{recipe.width}: this is not the model the recipe was made with"
        )
    return found


def tapped_features(
    model: nn.Module,
    inputs: Inputs,
    at: Sequence[str],
    forward: Forward | None = None,
    mask: Mask = None,
    pooling: str = "auto",
    batch: int = 64,
) -> list[NDArray[np.float32]]:
    """Features of every name apart, float32 [n, d] each, out of one pass; as ``features``."""
    return variously_pooled(model, inputs, at, forward, mask, (pooling,), batch)[0]


def variously_pooled(
    model: nn.Module,
    inputs: Inputs,
    at: Sequence[str],
    forward: Forward | None,
    mask: Mask,
    poolings: Sequence[str],
    batch: int,
) -> list[list[NDArray[np.float32]]]:
    """``tapped_features`` of every pooling, all out of one pass: a list of names each."""
    if batch < 1:
        raise UsageError(f"batch= is 1 or more, got {batch}")
    checked = checked_inputs(inputs)
    total = count(checked)
    if not total:
        raise UsageError("there are no inputs to take features of")
    tokens = _mask(checked, mask)
    first = next(model.parameters(), None)
    device = None if first is None else first.device
    rows: list[list[list[NDArray[np.float32]]]] = []
    with undisturbed(model):
        for place, part in batches(checked, batch, device):
            outputs = tapped_outputs(model, at, forward or run_model, part)
            real = None if tokens is None else tokens[place]
            rows.append(
                [
                    [
                        _pooled(output, pooling, real, name, part)
                        for name, output in zip(at, outputs, strict=True)
                    ]
                    for pooling in poolings
                ]
            )
    return [
        [np.concatenate(column) for column in zip(*some, strict=True)]
        for some in zip(*rows, strict=True)
    ]


def _pooled(
    output: torch.Tensor, pooling: str, mask: torch.Tensor | None, name: str, part: Any
) -> NDArray[np.float32]:
    where = f"module {name!r}" if name else "the model"
    real = None if mask is None else mask.to(output.device)
    pooled = pool(output, pooling, real, where)
    if len(pooled) != count(part):
        raise UsageError(
            f"{where} returns {len(pooled)} rows for {count(part)} examples: take a module whose "
            "dimension 0 is the examples"
        )
    found: NDArray[np.float32] = pooled.cpu().numpy()
    return found


def _mask(inputs: Inputs, mask: Mask) -> torch.Tensor | None:
    if mask is False:
        return None
    if mask is None:
        return None if isinstance(inputs, torch.Tensor) else inputs.get(MASK)
    if len(mask) != count(inputs):
        raise UsageError(f"the mask has {len(mask)} rows for {count(inputs)} inputs")
    return mask
