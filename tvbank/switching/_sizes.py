"""What a model says of the shapes of its weights: sides of layers, sizes in its configuration.

A loss divides logits by ``config.vocab_size`` or ``num_labels``, and ``save_pretrained`` writes
them: where a task brings a head or an embedding of another size, they go along with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, final

import torch

from tvbank.folders import is_head, labels, members_of_rows
from tvbank.switching._places import Place

#: Attributes of modules that repeat the shape of their weight.
_SIDES: dict[type[torch.nn.Module], tuple[str, str]] = {
    torch.nn.Linear: ("out_features", "in_features"),
    torch.nn.Embedding: ("num_embeddings", "embedding_dim"),
}

_LABELS = ("id2label", "label2id")


@final
@dataclass(frozen=True)
class Said:
    """One attribute that goes along with a swap.

    Attributes:
        holder: the attributes of a module or configuration.
        name: of the attribute, which is there.
        before: its value.
        after: the value that fits the new weights.
    """

    holder: dict[str, Any]
    name: str
    before: object
    after: object


@final
class Sizes:
    """The attributes of a model's modules and configurations."""

    def __init__(self, model: torch.nn.Module) -> None:
        modules = [vars(module) for module in model.modules()]
        configs: dict[int, dict[str, Any]] = {}
        for module in modules:
            for config in _configs(module.get("config")):
                configs.setdefault(id(config), config)
        self._holders = [*modules, *configs.values()]

    def changes(self, new: Iterable[tuple[Place, torch.Tensor]]) -> list[Said]:
        """What goes along with new tensors that are about to be put into places."""
        return [
            said
            for place, tensor in new
            for said in self._changes(place, tensor)
            if said.before != said.after
        ]

    def _changes(self, place: Place, new: torch.Tensor) -> Iterator[Said]:
        if place.attribute != "weight":
            return
        for kind, names in _SIDES.items():
            if isinstance(place.module, kind):
                for name, side in zip(names, new.shape, strict=False):
                    yield Said(vars(place.module), name, vars(place.module)[name], side)
        before = place.tensor.shape
        if new.ndim != 2 or len(before) != 2 or before[0] == new.shape[0]:
            return
        for holder in self._holders:
            for name in members_of_rows(place.name):
                if holder.get(name) == before[0]:
                    yield Said(holder, name, before[0], new.shape[0])
            if is_head(place.name):
                yield from _labels_of(holder, before[0], new.shape[0])


def _configs(config: object) -> Iterator[dict[str, Any]]:
    """The attributes of a configuration of transformers, and of those within it."""
    if callable(getattr(config, "to_dict", None)):
        members = vars(config)
        yield members
        for inner in list(members.values()):
            yield from _configs(inner)


def _labels_of(holder: dict[str, Any], before: int, after: int) -> Iterator[Said]:
    if holder.get("num_labels") == before:
        yield Said(holder, "num_labels", before, after)
    known = holder.get(_LABELS[0])
    if isinstance(known, dict) and len(known) == before:
        for name, value in zip(_LABELS, labels(after), strict=True):
            if name in holder:
                yield Said(holder, name, holder[name], value)
