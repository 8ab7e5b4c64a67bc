"""Features of inputs: what chosen modules of the base return, pooled to one row an example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tvbank.errors import UsageError
from tvbank.routing._forward import (
    MASK,
    Forward,
    Inputs,
    batches,
    checked_inputs,
    count,
    run_model,
    tapped_outputs,
    undisturbed,
)
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
    [parts] = variously_pooled(model, inputs, recipe.at, forward, mask, (recipe.pooling,), batch)
    rows = np.concatenate(parts, axis=1)
    if recipe.width and rows.shape[1] != recipe.width:
        raise UsageError(
            f"the model has {rows.shape[1]} features at {list(recipe.at)}, the recipe says "
            f"{recipe.width}: this is not the model the recipe was made with"
        )
    return rows


def variously_pooled(
    model: nn.Module,
    inputs: Inputs,
    at: Sequence[str],
    forward: Forward | None,
    mask: Mask,
    poolings: Sequence[str],
    batch: int,
) -> list[list[NDArray[np.float32]]]:
    """As ``features``, by several poolings from one pass, and nothing concatenated.

    Returns:
        For each pooling a list of the features at each name, float32 [n, d].
    """
    if batch < 1:
        raise UsageError(f"batch= is 1 or more, got {batch}")
    checked = checked_inputs(inputs)
    total = count(checked)
    if not total:
        raise UsageError("there are no inputs to take features of")
    tokens = mask_of(checked, mask)
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
    pooled = _pool(output, pooling, real, where)
    if len(pooled) != count(part):
        raise UsageError(
            f"{where} returns {len(pooled)} rows for {count(part)} examples: take a module whose "
            "dimension 0 is the examples"
        )
    rows: NDArray[np.float32] = pooled.cpu().numpy()
    return rows


def mask_of(inputs: Inputs, mask: Mask) -> torch.Tensor | None:
    """The mask of tokens that count, [n, t]; None where all do.

    Raises:
        UsageError: it has another number of rows than the inputs.
    """
    if mask is False:
        return None
    if mask is None:
        return None if isinstance(inputs, torch.Tensor) else inputs.get(MASK)
    if len(mask) != count(inputs):
        raise UsageError(f"the mask has {len(mask)} rows for {count(inputs)} inputs")
    return mask


def _pool(
    tensor: torch.Tensor, pooling: str, mask: torch.Tensor | None, where: str
) -> torch.Tensor:
    """Reduce a module's output to one row an example.

    Args:
        tensor: [n, …, …] of any floating-point type.
        pooling: see ``Recipe``.
        mask: [n, t], true or non-zero for tokens that count; for means and summaries of tokens.
        where: the module, for messages.

    Returns:
        float32 [n, d].

    Raises:
        UsageError: the shape does not suit the pooling, or the mask the tokens.
    """
    values = tensor.detach().float()
    if values.ndim <= 2:
        return values.reshape(len(values), -1)
    if pooling == "summary":
        return _summary(values, mask, where)
    way = pooling
    if way == "auto":
        way = "tokens" if values.ndim == 3 else "maps"
    if way == "maps":
        return values.flatten(2).mean(2)
    if values.ndim != 3:
        raise UsageError(
            f"{where} returns {tuple(values.shape)}, which are no tokens [n, t, d]: take "
            "pooling='maps', or another module"
        )
    if way == "first":
        return values[:, 0]
    if mask is None:
        return values.mean(1)
    real = _real(values, mask, where)
    return (values * real).sum(1) / real.sum(1).clamp(min=1)


def _summary(values: torch.Tensor, mask: torch.Tensor | None, where: str) -> torch.Tensor:
    """Mean, first, last, least and greatest of the tokens that count, or of the places of a map."""
    if values.ndim > 3:
        values, mask = values.flatten(2).transpose(1, 2), None
    real = values.new_ones(*values.shape[:2], 1) if mask is None else _real(values, mask, where)
    total, rows = real.sum(1), torch.arange(len(values), device=values.device)
    place = torch.arange(1, values.shape[1] + 1, device=values.device)
    parts = [
        (values * real).sum(1) / total.clamp(min=1),
        values[rows, real[..., 0].argmax(1)],
        values[rows, (real[..., 0] * place).argmax(1)],
        values.masked_fill(real == 0, torch.inf).amin(1),
        values.masked_fill(real == 0, -torch.inf).amax(1),
    ]
    return torch.cat(parts, 1).masked_fill(total == 0, 0.0)


def _real(values: torch.Tensor, mask: torch.Tensor, where: str) -> torch.Tensor:
    """One for tokens that count, else zero, [n, t, 1].

    Raises:
        UsageError: a mask of another shape.
    """
    if mask.shape != values.shape[:2]:
        raise UsageError(
            f"{where} returns {values.shape[1]} tokens an example, the mask has shape "
            f"{tuple(mask.shape)}: give mask=False to average over all, or another mask"
        )
    return (mask != 0).to(values)[..., None]
