"""Which tensors are layers, by their names, as mergekit finds them where it knows no architecture.

The first number between dots counts layers: ``model.layers.3.mlp.weight`` is of layer 3 of the
stack ``model.layers``. Tensors without one come before or after all layers; that matters only where
the first slice has other models than the last.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import final

_LAYER = re.compile(r"\.(\d{1,9})\.")

#: Parts of names of what comes before the layers, in the architectures that mergekit knows.
_BEFORE = re.compile(r"embed(?!_out)|(^|[._])(wte|wpe|embd|emb|shared|rotary|relative_pe)([._]|$)")


@final
@dataclass(frozen=True)
class Stack:
    """Layers of the same kind, one after the other.

    Attributes:
        prefix: what their names begin with, before the number.
        layers: by number: the rest of a tensor's name after the number, and its whole name.
    """

    prefix: str
    layers: dict[int, dict[str, str]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of layers, those without tensors included."""
        return max(self.layers) + 1

    def name(self, layer: int, rest: str) -> str:
        """A tensor's name."""
        return f"{self.prefix}.{layer}.{rest}"


def find_layers(names: Iterable[str]) -> tuple[list[Stack], list[str]]:
    """Sort tensors into stacks of layers; those of none are left."""
    stacks: dict[str, Stack] = {}
    loose = []
    for name in names:
        match = _LAYER.search(name)
        if match is None:
            loose.append(name)
            continue
        prefix = name[: match.start()]
        stack = stacks.setdefault(prefix, Stack(prefix))
        stack.layers.setdefault(int(match[1]), {})[name[match.end() :]] = name
    return list(stacks.values()), loose


def layer_of(name: str) -> int:
    """The number of a tensor's layer; the name must have one."""
    match = _LAYER.search(name)
    assert match is not None
    return int(match[1])


def comes_before(name: str) -> bool:
    """Whether a tensor that is of no layer comes before the first, as embeddings do."""
    return _BEFORE.search(name) is not None


def place_of(layer: int, count: int) -> float:
    """Where a layer is between the first (0) and the last (1) of some; a single one is the last."""
    return layer / (count - 1) if count > 1 else 1.0
