"""Units that a task keeps whole: heads, changed buffers, resized embeddings, untied weights."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import final

import torch

from tvbank.errors import NonFiniteError, UnitMismatchError
from tvbank.naming import Window
from tvbank.switching._memory import view_of, writing
from tvbank.switching._model import AttachedModel
from tvbank.switching._places import Place
from tvbank.switching._record import Undo
from tvbank.switching._resident import ResidentTask
from tvbank.switching._sizes import Said


@final
@dataclass(frozen=True)
class Swap:
    """One unit kept whole, and the places of the model that it goes to.

    Attributes:
        places: that shared their memory in the base and go together.
        tensor: the new weights, in the places' element type and on their device.
        alone: whether nothing else of the model shares that memory.
        window: the part of the places' tensor that it goes to; ``None`` for all of it.
    """

    places: list[Place]
    tensor: torch.Tensor
    alone: bool
    window: Window | None = None

    @property
    def present(self) -> torch.Tensor:
        """What is there now."""
        return view_of(self.places[0], self.window)

    @property
    def in_place(self) -> bool:
        """Whether the new weights fit the memory that is there; else the places get a new tensor.

        Right only while the model is the base: when a swap is planned, another task's head may
        still be in place.
        """
        return self.window is not None or (
            self.alone and self.tensor.shape == self.places[0].tensor.shape
        )


def plan_swaps(
    task: ResidentTask, model: AttachedModel, blended: Collection[str] = ()
) -> tuple[list[Swap], list[str]]:
    """Find where the units go that a task keeps whole, but those that are blended with others.

    A unit of the base takes along what is tied to it; a name that was tied to a unit of the base,
    and which the task keeps by itself, is untied.

    Returns:
        The swaps, and the names of units that the model has no place for.

    Raises:
        CorruptionError: a unit is missing from the bank or damaged.
        UnitMismatchError: an element type that cannot take the place of the model's.
        NonFiniteError: a weight does not fit the model's element type.
    """
    names = [name for name in task.extra_names if name not in blended]
    places_of_extras = {name: model.find(name) for name in names}
    own = {found[0] for found in places_of_extras.values() if found is not None}
    swaps, unused = [], []
    for name, found in places_of_extras.items():
        if found is None:
            unused.append(name)
            continue
        place, window = found
        group = model.sharing(place)
        if window is not None:
            swaps.append(_swap_of_part(task, name, group, window))
            continue
        places = [place]
        if place.name in model.owners or not any(other.name in model.owners for other in group):
            places += [p for p in group if p not in own and p.name not in model.owners]
        tensor = _fitted(task, name, place.tensor)
        swaps.append(Swap(places, tensor, alone=len(places) == len(group)))
    return swaps, unused


def _swap_of_part(task: ResidentTask, name: str, group: list[Place], window: Window) -> Swap:
    """A unit that is a part of a tensor of the model: it cannot take another shape there."""
    tensor = _fitted(task, name, group[0].tensor)
    if tuple(tensor.shape) != window.shape:
        raise UnitMismatchError(
            f"task {task.name!r} keeps {name!r} in the shape {list(tensor.shape)}; it is a part "
            f"of {group[0].name!r} in this model, which has room for {list(window.shape)}: export "
            "the task and load the file instead"
        )
    return Swap(group, tensor, alone=True, window=window)


def _fitted(task: ResidentTask, name: str, present: torch.Tensor) -> torch.Tensor:
    """A unit in the element type and on the device of the tensor whose place it takes."""
    extra = task.extra(name)
    if extra.dtype == present.dtype:
        return extra.to(present.device)
    if not (extra.is_floating_point() and present.is_floating_point()):
        raise UnitMismatchError(
            f"task {task.name!r} keeps {name!r} as {extra.dtype}, which cannot take the place of "
            f"{present.dtype} in the model; load the model with that element type"
        )
    fitted = extra.to(present.dtype)
    if bool(extra.isfinite().all()) and not bool(fitted.float().isfinite().all()):
        raise NonFiniteError(
            f"task {task.name!r}: a weight of {name!r} is too large for {present.dtype}"
        )
    return fitted.to(present.device)


@final
class SwapsUndo(Undo):
    """What the swapped places held: a copy of the weights, or the tensors themselves."""

    def __init__(self, swaps: list[Swap], sizes: list[Said]) -> None:
        """Keep what is there now, and what the model says of it."""
        self._sizes = sizes
        self._copies: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._tensors: list[tuple[Place, torch.Tensor]] = []
        for swap in swaps:
            if swap.in_place:
                present = swap.present.detach()
                self._copies.append((present, present.clone()))
            else:
                self._tensors += [(place, place.tensor) for place in swap.places]

    def restore(self) -> None:
        """See ``Undo.restore``."""
        for present, copy in self._copies:
            with writing(present):
                present.copy_(copy)
        for place, tensor in self._tensors:
            place.slots[place.attribute] = tensor
        for said in reversed(self._sizes):
            said.holder[said.name] = said.before


def write_swaps(swaps: list[Swap], sizes: list[Said]) -> None:
    """Put the new weights into their places, and what goes along with them."""
    for swap in swaps:
        present = swap.present
        if swap.in_place:
            with writing(present):
                present.detach().copy_(swap.tensor)
            continue
        with writing(present):
            new = swap.tensor.clone()
            if isinstance(present, torch.nn.Parameter):
                new = torch.nn.Parameter(new, requires_grad=present.requires_grad)
        for place in swap.places:
            place.slots[place.attribute] = new
    for said in sizes:
        said.holder[said.name] = said.after
