"""Targets: the memory of a model that units of the base live in, each once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from tvbank.checkpoint import open_checkpoint
from tvbank.coding.decoding.elements import KINDS
from tvbank.errors import BaseMismatchError, CheckpointError, UsageError
from tvbank.layout import Layout
from tvbank.naming import Part, Parts, Window, assembled, shape_of
from tvbank.naming.prefixes import names_of_units
from tvbank.switching._places import Place, identity
from tvbank.switching._unfit import unfit

#: Most steps of the exact test whether strided tensors overlap; tensors that take more are
#: refused.
_OVERLAP_WORK = 100_000


#: Element types that hold every number of another one.
_WIDER = {
    "bfloat16": ("float32", "float64"),
    "float16": ("float32", "float64"),
    "float32": ("float64",),
}


@final
class Piece:
    """One tensor of the model, or a part of one, under all its names.

    Attributes:
        places: where the model has it.
        window: which part of the places' tensor it is; ``None`` for all of it.
        at: which entries of the unit are there; ``None`` for all.
        tensor: the parameter or buffer itself, or the view of a part of it.
        memory: the same memory, kept from being freed while the switch lives.
    """

    def __init__(self, places: Sequence[Place], part: Part) -> None:
        self.places, self.window, self.at = list(places), part.window, part.at
        self.tensor = view_of(self.places[0], self.window)
        self.memory = self.tensor.detach()

    def of_unit(self, weights: torch.Tensor) -> torch.Tensor:
        """The part of a unit's weights that lives here, in this memory's form."""
        flat = weights.contiguous().reshape(-1)
        part = flat if self.at is None else self.at.of_tensor(flat)
        return part.reshape(self.memory.shape)

    def cells(
        self, positions: NDArray[np.int64]
    ) -> tuple[torch.Tensor, torch.Tensor, NDArray[np.int64] | None]:
        """Where those of some flat positions of the unit are that live here.

        Returns:
            Flat memory; offsets in it; which of the positions these are, ``None`` for all.
        """
        chosen = None
        if self.at is not None:
            chosen, positions = self.at.positions_of(positions)
        flat = self.memory.as_strided((span(self.memory),), (1,))
        offsets = torch.from_numpy(memory_offsets(self.memory, positions))
        return flat, offsets.to(self.memory.device), chosen


@final
class Target:
    """What a unit of the base lives in: one tensor of the model, or pieces of several.

    Attributes:
        pieces: one, of which ``at`` is ``None``; or several, that hold every entry once.
        shape: of the unit.
        units: indices into ``layout.units`` of those that live here; the first one leads. Empty
            for units without deltas.
        tensor: that of the first piece.
        kind: its element type, an index into ``KINDS``; −1 for others.
        stored: the base's element type; the model's may be a wider one, that holds all its numbers.
        direct: whether the fused loops can write to it: one piece, contiguous, on the CPU, of a
            known kind, in the base's element type.
    """

    def __init__(self, pieces: Sequence[Piece], shape: tuple[int, ...], stored: str) -> None:
        self.pieces, self.shape, self.stored = list(pieces), shape, stored
        self.units: list[int] = []
        self.tensor = self.pieces[0].tensor
        name = element_type(self.tensor)
        self.kind = KINDS.index(name) if name in KINDS else -1
        self.direct = (
            len(self.pieces) == 1
            and self.kind >= 0
            and not self.is_wider
            and self.tensor.device.type == "cpu"
            and self.tensor.is_contiguous()
            and not self.tensor.is_neg()
        )

    @property
    def places(self) -> list[Place]:
        """Where the model has it, or a part of it; the first is named after a unit of the base."""
        return [place for piece in self.pieces for place in piece.places]

    @property
    def name(self) -> str:
        """The first of its names."""
        return self.pieces[0].places[0].name

    @property
    def is_wider(self) -> bool:
        """Whether the model has it in a wider element type than the base."""
        return self.stored != element_type(self.tensor)

    def narrowed(self, weights: torch.Tensor) -> NDArray[Any]:
        """Weights of the model in the base's element type, C-contiguous.

        Those that this type does not have stay as they are: they are not the base's, nor a task's.
        """
        if self.is_wider:
            narrow = weights.detach().to(getattr(torch, self.stored))
            again = narrow.to(weights.dtype)
            if torch.equal(_bits(again), _bits(weights.detach())):
                weights = narrow
        return open_checkpoint({self.name: weights}).read(self.name)

    def read(self) -> torch.Tensor:
        """What it holds now, in the unit's shape; it may share the model's memory."""
        return assembled([(piece.memory, piece.at) for piece in self.pieces], self.shape)

    def write(self, weights: torch.Tensor) -> None:
        """Let it hold other weights, of the unit's shape; they may be on another device."""
        for piece in self.pieces:
            with writing(piece.memory):
                piece.memory.copy_(piece.of_unit(weights))

    def weights(self) -> NDArray[Any]:
        """What it holds now, as an array of the unit's shape; see ``narrowed``."""
        return self.narrowed(self.read())


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().view(torch.uint8) if tensor.ndim else tensor[None].view(torch.uint8)


def view_of(place: Place, window: Window | None) -> torch.Tensor:
    """What is at a place now, or the part of it that a window shows."""
    return place.tensor if window is None else window.of_tensor(place.tensor)


def element_type(tensor: torch.Tensor) -> str:
    """A tensor's element type, as ``tvbank.dtypes`` names it."""
    return str(tensor.dtype).removeprefix("torch.")


def targets_of(
    layout: Layout, places: Mapping[str, Place], parts: Mapping[str, Parts]
) -> tuple[list[Target], dict[str, list[Target]]]:
    """Find the memory of every unit of the base.

    Args:
        layout: of the base.
        places: the model's entries by name.
        parts: where the model has what the bank names.

    Returns:
        All targets, and those of each unit by its name: more than one where the model has not
        tied what the base ties, none for a unit without deltas that the model lacks.

    Raises:
        BaseMismatchError: shapes or element types differ; names the units.
        CheckpointError: a tensor has no plain memory; says why, and what to do.
        UsageError: the memory of several tensors overlaps in part.
    """
    shared: dict[object, list[Place]] = {}
    for place in places.values():
        shared.setdefault(identity(place.tensor), []).append(place)
    tensors = {name: place.tensor for name, place in places.items()}
    numbers = {unit.name: number for number, unit in enumerate(layout.units)}
    by_identity: dict[tuple[object, ...], Target] = {}
    by_unit: dict[str, list[Target]] = {}
    wrong: list[tuple[str, str]] = []
    for unit, names in names_of_units(layout).items():
        record = layout.by_name.get(unit) or layout.whole_by_name[unit]
        by_unit[unit] = []
        for found in (parts[name] for name in names if name in parts):
            for part in found:
                if problem := unfit(places[part.name].tensor):
                    raise CheckpointError(
                        f"a bank cannot be attached to this model: {part.name!r} {problem}"
                    )
            views = [view_of(places[part.name], part.window) for part in found]
            kind, shape = element_type(views[0]), shape_of(found, tensors, record.shape)
            wider = kind in _WIDER.get(record.dtype, ()) and unit in numbers
            alike = all(view.dtype == views[0].dtype for view in views)
            if shape != record.shape or not alike or not (kind == record.dtype or wider):
                wrong.append((unit, f"{kind} {list(shape)} here, {record.dtype} "
                                    f"{list(record.shape)} in the base"))  # fmt: skip
                continue
            key = tuple(map(identity, views))
            if key not in by_identity:
                pieces = [Piece(_sharing(places[part.name], shared), part) for part in found]
                by_identity[key] = Target(pieces, record.shape, record.dtype)
            target = by_identity[key]
            if unit in numbers and numbers[unit] not in target.units:
                target.units.append(numbers[unit])
            if target not in by_unit[unit]:
                by_unit[unit].append(target)
    if wrong:
        raise _differing(wrong)
    targets = list(by_identity.values())
    _refuse_overlaps(targets)
    return targets, by_unit


def _sharing(place: Place, shared: Mapping[object, Sequence[Place]]) -> list[Place]:
    """A place, and those that share its memory."""
    return [place, *(other for other in shared[identity(place.tensor)] if other is not place)]


def _differing(wrong: Sequence[tuple[str, str]]) -> BaseMismatchError:
    name, how = wrong[0]
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return BaseMismatchError(
        f"the model is not the base this bank was built on: unit {name!r} is {how}{more}; attach "
        "to a model in the base's own element types, or in a wider one (float32 for bfloat16)",
        [unit for unit, _ in wrong],
    )


def _refuse_overlaps(targets: Sequence[Target]) -> None:
    for piece in (piece for target in targets for piece in target.pieces):
        if piece.tensor.numel() and _overlaps_itself(piece.tensor):
            raise UsageError(
                f"entries of {piece.places[0].name!r} share memory with each other (an expanded "
                "tensor): give it memory of its own, with .clone()"
            )
    for first, second in overlapping(targets):
        raise UsageError(
            f"{first.name!r} and {second.name!r} overlap in memory without being the same: "
            "give one of them memory of its own, with .clone()"
        )


def overlapping(targets: Iterable[Target]) -> Iterator[tuple[Target, Target]]:
    """All pairs of targets that share memory, as far as it can be told."""
    spans = [
        (*span_of(piece.memory), piece.memory, target)
        for target in targets
        for piece in target.pieces
        if piece.memory.numel()
    ]
    ordered = sorted(spans, key=lambda item: (str(item[2].device), item[0]))
    for index, (_, stop, memory, first) in enumerate(ordered):
        for start, _, other, second in ordered[index + 1 :]:
            if other.device != memory.device or start >= stop:
                break
            if _overlap(memory, other):
                yield first, second


def writing(tensor: torch.Tensor) -> AbstractContextManager[object]:
    """The mode in which torch writes to a tensor in place: inference mode for inference tensors."""
    if tensor.is_inference() == torch.is_inference_mode_enabled():
        return nullcontext()
    return torch.inference_mode(tensor.is_inference())


def span(tensor: torch.Tensor) -> int:
    """Entries from the first to the last that a tensor has in memory, which must not be none."""
    sides = zip(tensor.shape, tensor.stride(), strict=True)
    return 1 + sum((size - 1) * stride for size, stride in sides)


def span_of(tensor: torch.Tensor) -> tuple[int, int]:
    """Where a tensor of at least one entry begins and ends in memory: addresses."""
    start = tensor.data_ptr()
    return start, start + span(tensor) * tensor.element_size()


def memory_offsets(tensor: torch.Tensor, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where in memory, counted from the first, the entries at flat positions of a tensor lie."""
    rest, offsets = positions, np.zeros_like(positions)
    for size, stride in reversed(list(zip(tensor.shape, tensor.stride(), strict=True))):
        rest, index = np.divmod(rest, size)
        offsets += index * stride
    return offsets


def _overlaps_itself(tensor: torch.Tensor) -> bool:
    """Whether some entries might share memory; never True for permuted dense tensors."""
    reach = 0
    sides = ((stride, size) for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    for stride, size in sorted(side for side in sides if side[1] > 1):
        if stride <= reach:
            return True
        reach += (size - 1) * stride
    return False


def _overlap(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether tensors whose spans overlap share an entry; True if finding out takes too long."""
    if first.device.type != "cpu":
        return True
    work: Any = _OVERLAP_WORK
    try:
        return bool(np.shares_memory(_bytes(first), _bytes(second), max_work=work))
    except np.exceptions.TooHardError:
        return True


def _bytes(tensor: torch.Tensor) -> NDArray[np.uint8]:
    """A tensor's memory as an array of its shape and a last axis of the bytes of an entry."""
    width = tensor.element_size()
    flat = torch.empty(0, dtype=torch.uint8).set_(
        tensor.untyped_storage(), tensor.storage_offset() * width,
        (*tensor.shape, width), (*(stride * width for stride in tensor.stride()), 1),
    )  # fmt: skip
    array: NDArray[np.uint8] = flat.numpy()
    return array
