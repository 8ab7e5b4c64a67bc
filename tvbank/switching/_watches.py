"""What is expected at the places of a model, and what others did to them meanwhile.

Looked at before every change: which tensors there are, where they lie, how often torch says that it
has written to them, what optimisers say, and samples of what they hold (see ``_samples``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from operator import attrgetter, is_
from typing import Any, final

import torch

from tvbank.switching._memory import span_of
from tvbank.switching._places import Link, Place
from tvbank.switching._samples import Samples

# Read from every tensor before every change; ``map`` over C functions runs no Python byte code.
_get: Any = dict.get
_address, _type, _shape = torch.Tensor.data_ptr, attrgetter("dtype"), attrgetter("shape")
_version, _is_inference = attrgetter("_version"), torch.Tensor.is_inference


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
        #: Tensors, by ``id``, that others are known to have written to.
        self._noted: set[int] = set()
        self._list()
        self._samples.take()

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
        """Names of places that others have written to since ``mark``, as far as can be seen."""
        versions = _versions(self._counted)
        sampled = self.sampled()
        if versions == self._versions and not sampled and not self._noted:
            return []
        changed = zip(self._counted, versions, self._versions, strict=True)
        wrong = {id(tensor) for tensor, now, then in changed if now != then}
        wrong |= self._noted | {id(self._tensors[number]) for number in sampled}
        return [place.name for place, tensor in self._expected.items() if id(tensor) in wrong]

    def sampled(self) -> list[int]:
        """Which tensors hold something else than they did, written behind torch's back or not."""
        return self._samples.changed()

    def note(self, stepped: Iterable[torch.Tensor]) -> None:
        """Take down that others have written to some memory, whatever torch counts and samples say.

        Args:
            stepped: tensors with plain memory, which may be watched ones, views or parts of them.
        """
        spans = [(tensor.device, *span_of(tensor)) for tensor in stepped]
        devices = {device for device, _, _ in spans}
        for tensor in self._tensors:
            if tensor.device in devices and tensor.numel():
                start, stop = span_of(tensor)
                if any(d == tensor.device and a < stop and start < b for d, a, b in spans):
                    self._noted.add(id(tensor))

    def mark(self, tensors: Sequence[torch.Tensor], overlook: Collection[str] = ()) -> None:
        """Tell torch that tensors were written to, and expect all as they are now, but some.

        Autograd then refuses to go back through a forward pass that saw other weights.

        Args:
            tensors: what was written to by address.
            overlook: names of places that others have written to: ``written`` goes on naming them.
        """
        torch.autograd.graph.increment_version(tensors)
        self._versions = _versions(self._counted)
        self._noted = {id(t) for place, t in self._expected.items() if place.name in overlook}
        self._samples.take()

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
        self._samples = Samples(self._tensors)


def _versions(tensors: Iterable[torch.Tensor]) -> list[int]:
    return list(map(_version, tensors))
