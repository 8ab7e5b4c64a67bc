"""One row an example out of what a module returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from tvbank.errors import UsageError

#: Members of an output that hold the features, in the order in which they are looked for.
_MEMBERS = ("last_hidden_state", "logits", "hidden_states")


def main_tensor(output: Any) -> torch.Tensor | None:
    """The tensor that a module's output is about: itself, or the first of a tuple or a record."""
    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, Mapping):
        named = [output[name] for name in _MEMBERS if name in output]
        return main_tensor(named[0] if named else next(iter(output.values()), None))
    for name in _MEMBERS:
        if isinstance(member := getattr(output, name, None), torch.Tensor):
            return member
    if isinstance(output, tuple | list) and output:
        return main_tensor(output[0])
    return None


def pool(tensor: torch.Tensor, pooling: str, mask: torch.Tensor | None, where: str) -> torch.Tensor:
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
    count, each = real.sum(1), torch.arange(len(values), device=values.device)
    place = torch.arange(1, values.shape[1] + 1, device=values.device)
    found = [
        (values * real).sum(1) / count.clamp(min=1),
        values[each, real[..., 0].argmax(1)],
        values[each, (real[..., 0] * place).argmax(1)],
        values.masked_fill(real == 0, torch.inf).amin(1),
        values.masked_fill(real == 0, -torch.inf).amax(1),
    ]
    return torch.cat(found, 1).masked_fill(count == 0, 0.0)


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
