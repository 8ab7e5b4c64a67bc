"""Units that a task keeps whole: heads, changed buffers, resized embeddings, untied weights."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import final

import torch

from tvbank.errors import NonFiniteError, UnitMismatchError
from tvbank.naming import Part, Window
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
    own = {place for found in places_of_extras.values() for place, _ in found}
    swaps, unused = [], []
    for name, found in places_of_extras.items():
        if not found:
            unused.append(name)
            continue
        if found[0][1].window is not None:
            swaps += _swaps_of_parts(task, name, found, model)
            continue
        place, _ = found[0]
        group = model.sharing(place)
        places = [place]
        if place.name in model.owners or not any(other.name in model.owners for other in group):
            places += [p for p in group if p not in own and p.name not in model.owners]
        tensor = _fitted(task, name, place.tensor)
        swaps.append(Swap(places, tensor, alone=len(places) == len(group)))
    return swaps, unused


def _swaps_of_parts(
    task: ResidentTask, name: str, found: Sequence[tuple[Place, Part]], model: AttachedModel
) -> list[Swap]:
    """A unit that is a part of a tensor of the model, or split: it cannot take another shape."""
    tensor = _fitted(task, name, found[0][0].tensor)
    record = model.layout.by_name.get(name) or model.layout.whole_by_name.get(name)
    if record is not None and tuple(tensor.shape) != record.shape:
        raise UnitMismatchError(
            f"task {task.name!r} keeps {name!r} in the shape {list(tensor.shape)}; it is a part "
            f"of {found[0][0].name!r} in this model, which has room for {list(record.shape)}: "
            "export the task and load the file instead"
        )
    return [
        Swap(model.sharing(place), part.taken(tensor), alone=True, window=part.window)
        for place, part in found
    ]


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
