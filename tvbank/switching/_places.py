"""The entries of a model's modules by their names, and whether they are still what they were."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence
from operator import attrgetter, is_
from typing import Any, final

import torch

# Read from every tensor before every change; ``map`` over C functions runs no Python byte code.
_get: Any = dict.get
_address, _type, _shape = torch.Tensor.data_ptr, attrgetter("dtype"), attrgetter("shape")
_version, _is_inference = attrgetter("_version"), torch.Tensor.is_inference


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
    for path, outer in model.named_modules(remove_duplicate=False):
        prefix = f"{path}." if path else ""
        modules: Any = outer._modules
        links += [Link(prefix + n, modules, n, m) for n, m in modules.items() if m is not None]
    return links


def places_of(model: torch.nn.Module) -> dict[str, Place]:
    """Every entry of a model's state dict by name; a shared one under each of its names."""
    places: dict[str, Place] = {}
    for path, module in model.named_modules(remove_duplicate=False):
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
    """A key that is equal for two names of the same memory; an empty tensor has one of its own."""
    if tensor.numel() == 0:
        return id(tensor)
    form = (tuple(tensor.shape), tensor.stride(), tensor.dtype)
    return str(tensor.device), tensor.data_ptr(), form


@final
class Watches:
    """What is expected at the places of a model that a switch touches."""

    def __init__(self, places: Iterable[Place], links: Iterable[Link]) -> None:
        """Expect what is there now, and these links between the modules."""
        self._links = list(links)
        self._modules = [link.module for link in self._links]
        self._module_slots = [link.modules for link in self._links]
        self._module_names = [link.attribute for link in self._links]
        self._expected: dict[Place, torch.Tensor] = {place: place.tensor for place in places}
        self._list()

    def add(self, places: Iterable[Place]) -> None:
        """Watch some more places, or expect at some what is there now."""
        self._expected.update((place, place.tensor) for place in places)
        self._list()

    def drop(self, places: Iterable[Place]) -> None:
        """Watch some places no longer."""
        for place in places:
            self._expected.pop(place, None)
        self._list()

    def moved(self) -> list[str]:
        """Names of places where something else is now: replaced, moved, cast or resized."""
        modules = list(map(_get, self._module_slots, self._module_names))
        if not all(map(is_, modules, self._modules)):
            return self._unlinked(modules)
        tensors = self._tensors
        present = list(map(_get, self._slots, self._attributes))
        if (
            all(map(is_, present, tensors))
            and list(map(_address, tensors)) == self._addresses
            and list(map(_type, tensors)) == self._dtypes
            and list(map(_shape, tensors)) == self._shapes
        ):
            return []
        return [
            place.name
            for place, now, tensor, *form in zip(
                self._places, present, tensors, self._addresses, self._dtypes, self._shapes,
                strict=True,
            )
            if now is not tensor or [tensor.data_ptr(), tensor.dtype, tensor.shape] != form
        ]  # fmt: skip

    def _unlinked(self, modules: Sequence[torch.nn.Module | None]) -> list[str]:
        """Names of places in modules that are no longer part of the model."""
        pairs = zip(self._links, modules, strict=True)
        gone = tuple(f"{link.path}." for link, now in pairs if now is not link.module)
        return [place.name for place in self._places if place.name.startswith(gone)]

    def written(self) -> list[str]:
        """Names of places that torch has written to since ``mark``."""
        versions = _versions(self._counted)
        if versions == self._versions:
            return []
        changed = zip(self._counted, versions, self._versions, strict=True)
        wrong = {id(tensor) for tensor, now, then in changed if now != then}
        return [place.name for place, tensor in self._expected.items() if id(tensor) in wrong]

    def mark(self, tensors: Sequence[torch.Tensor], overlook: Collection[str] = ()) -> None:
        """Tell torch that tensors were written to, and expect all as they are now, but some.

        Autograd then refuses to go back through a forward pass that saw other weights.

        Args:
            tensors: what was written to by address.
            overlook: names of places that others have written to: ``written`` goes on naming them.
        """
        torch.autograd.graph.increment_version(tensors)
        self._versions = _versions(self._counted)
        if overlook:
            places = {id(tensor): place.name for place, tensor in self._expected.items()}
            names = [places[id(tensor)] for tensor in self._counted]
            pairs = zip(names, self._versions, strict=True)
            self._versions = [-1 if name in overlook else version for name, version in pairs]

    def _list(self) -> None:
        """Keep what is compared in parallel lists: comparing is part of the time of a change."""
        self._places = list(self._expected)
        self._tensors = list(self._expected.values())
        self._slots = [place.slots for place in self._places]
        self._attributes = [place.attribute for place in self._places]
        self._addresses = list(map(_address, self._tensors))
        self._dtypes = list(map(_type, self._tensors))
        self._shapes = list(map(_shape, self._tensors))
        # Torch does not count the writes to inference tensors.
        self._counted = [tensor for tensor in self._tensors if not _is_inference(tensor)]
        self._versions = _versions(self._counted)


def _versions(tensors: Iterable[torch.Tensor]) -> list[int]:
    return list(map(_version, tensors))
