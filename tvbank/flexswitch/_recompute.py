"""Gradient checkpointing: activations within a model's blocks are computed again, not kept.

Torch's own function would compute a block again with the weights that the module has by then. Here
weights are given to each call, so that the block is called again with those of the first time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def recompute_blocks(model: nn.Module) -> int:
    """Compute the blocks of a model again where gradients need their activations.

    Blocks are the members of every list of two or more modules of one class, but for those that lie
    in another block.

    Args:
        model: a clone that belongs to the caller.

    Returns:
        How many blocks there are.
    """
    blocks: list[nn.Module] = []

    def look(module: nn.Module) -> None:
        children = list(module.children())
        alike = len(children) > 1 and len({type(child) for child in children}) == 1
        if isinstance(module, nn.ModuleList | nn.Sequential) and alike:
            blocks.extend(child for child in children if any(True for _ in child.parameters()))
            return
        for child in children:
            look(child)

    look(model)
    for block in blocks:
        block.forward = partial(_recomputed, block, block.forward)
    return len(blocks)


def _recomputed(block: nn.Module, forward: Callable[..., Any], *given: Any, **named: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*given, **named)
    weights = {
        **dict(block.named_parameters(remove_duplicate=False)),
        **dict(block.named_buffers(remove_duplicate=False)),
    }
    wrapped = block.forward

    def run(*again: Any, **named_again: Any) -> Any:
        block.forward = forward
        try:
            return torch.func.functional_call(block, weights, again, named_again)
        finally:
            block.forward = wrapped

    return checkpoint(run, *given, use_reentrant=False, **named)
