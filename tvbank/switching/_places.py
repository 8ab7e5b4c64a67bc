"""The entries of a model's modules by their names."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any, final

import torch

from tvbank.switching._unfit import unfit


@final
class Place:
    """One parameter or buffer of one module.

    Attributes:
        name: its name in the model's state dict.
        module: the module that it belongs to.
        attribute: its name within the module.
        slots: the module's own mapping of its parameters, or of its buffers.
    """

    __slots__ = ("attribute", "module", "name", "slots")

    def __init__(
        self,
        name: str,
        module: torch.nn.Module,
        attribute: str,
        slots: dict[str, torch.Tensor | None],
    ) -> None:
        self.name, self.module, self.attribute, self.slots = name, module, attribute, slots

    @property
    def tensor(self) -> torch.Tensor:
        """What is there now; it must not be ``None``."""
        tensor = self.slots[self.attribute]
        assert tensor is not None
        return tensor

    def __repr__(self) -> str:
        return f"Place({self.name!r})"


@final
class Link:
    """A module within another.

    Attributes:
        path: the inner module's name in the model.
        modules: the outer module's own mapping of its modules.
        attribute: the inner module's name in it.
        module: the inner module.
    """

    __slots__ = ("attribute", "module", "modules", "path")

    def __init__(
        self,
        path: str,
        modules: dict[str, torch.nn.Module | None],
        attribute: str,
        module: torch.nn.Module,
    ) -> None:
        self.path, self.modules, self.attribute, self.module = path, modules, attribute, module


def links_of(model: torch.nn.Module) -> list[Link]:
    """Every module of a model but itself; a shared one under each of its names."""
    links = []
    for path, outer in _plain_modules(model):
        prefix = f"{path}." if path else ""
        modules: Any = outer._modules
        links += [Link(prefix + n, modules, n, m) for n, m in modules.items() if m is not None]
    return links


def _plain_modules(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """Every module by name, but what is traced or scripted, whose entries are not Python's."""
    for path, module in model.named_modules(remove_duplicate=False):
        if not isinstance(module, torch.jit.ScriptModule):
            yield path, module


def places_of(model: torch.nn.Module) -> dict[str, Place]:
    """Every entry of a model's state dict by name; a shared one under each of its names."""
    places: dict[str, Place] = {}
    for path, module in _plain_modules(model):
        prefix = f"{path}." if path else ""
        buffers, left_out = module._buffers, module._non_persistent_buffers_set
        slots: Any
        for slots in (module._parameters, buffers):
            for attribute, tensor in slots.items():
                if tensor is not None and not (slots is buffers and attribute in left_out):
                    name = prefix + attribute
                    places[name] = Place(name, module, attribute, slots)
    return places


def identity(tensor: torch.Tensor) -> Hashable:
    """A key that is equal for two names of the same memory.

    A tensor that is empty, or has no plain memory, has one of its own.
    """
    if unfit(tensor) is not None or tensor.numel() == 0:
        return id(tensor)
    form = (tuple(tensor.shape), tensor.stride(), tensor.dtype)
    return str(tensor.device), tensor.data_ptr(), form
