"""Ties that a checkpoint does not say: what it has twice, once under a name that libraries tie."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from numpy.typing import NDArray

from tvbank.checkpoint._checkpoint import TensorSpec

__all__ = ["is_constant_array", "is_tie", "untold_ties"]

#: Embeddings and output layers that libraries tie, and list once or twice.
_TIES = re.compile(
    r"(^|\.)(lm_head|embed_out|embed_tokens|shared|wte|(word|tok|token)_embeddings?|decoder"
    r"|proj_out|output|output_projection|output_layer|generator\.proj)\.(weight|bias)$"
)


def is_tie(name: str) -> bool:
    """Whether libraries are used to tie a tensor of that name to another one."""
    return _TIES.search(name) is not None


def is_constant_array(array: NDArray[Any]) -> bool:
    """Whether all entries are equal: then having them says nothing."""
    flat = array.reshape(-1)
    return bool((flat == flat[:1]).all())


def untold_ties(
    tensors: Iterable[TensorSpec],
    apart: Callable[[str, str], bool],
    read: Callable[[str], NDArray[Any]],
) -> Mapping[str, str]:
    """Matrices that are another one, bit for bit, and of which one has a name that libraries tie.

    Args:
        tensors: in their order.
        apart: whether two of them are where a tie between them cannot be seen.
        read: reads one; only pairs of equal shapes and element types are read.

    Returns:
        Alias -> owner; the owner is the first of them.
    """
    alike: dict[object, list[TensorSpec]] = {}
    for spec in tensors:
        if len(spec.shape) > 1 and spec.size:
            alike.setdefault((spec.dtype, spec.shape), []).append(spec)
    tied: dict[str, str] = {}
    for group in alike.values():
        names = [spec.name for spec in group]
        for number, name in enumerate(names):
            for owner in names[:number]:
                known = owner in tied or name in tied
                if known or not (is_tie(owner) or is_tie(name)) or not apart(owner, name):
                    continue
                ours, theirs = read(owner), read(name)
                if ours.tobytes() == theirs.tobytes() and not is_constant_array(ours):
                    tied[name] = owner
    return tied
