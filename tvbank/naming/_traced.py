"""Where a conversion takes each entry of some tensors: found by converting numbers of entries.

Whatever splits, permutes, interleaves or transposes moves entries and changes none. So the entries
of the tensors of a file are numbered, the numbers go through the conversion, and where they come
out is taken apart into windows: evenly strided on both sides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tvbank.naming._window import Part, Parts, Window

__all__ = ["traced"]

#: Sides of a window, the last first: entries, and strides in the tensor and in the model.
_Sides = list[tuple[int, int, int]]

#: Numbers of entries; 32 bits are enough for most.
_Index = np.signedinteger[Any]

#: Entries that can be numbered in 32 bits.
_MOST = 2**31


def traced(
    convert: Callable[[Sequence[torch.Tensor]], Mapping[str, torch.Tensor]],
    shapes: Sequence[tuple[int, ...]],
    model: Mapping[str, torch.Tensor],
) -> list[Parts]:
    """Find where a conversion takes each of some tensors.

    Takes up to 31 bytes of memory an entry while it works.

    Args:
        convert: makes the model's tensors, by name, of tensors of these shapes.
        shapes: of the file's tensors.
        model: the model's tensors by name, which may be on the meta device.

    Returns:
        The places of each of the file's tensors; none, of all of them, if entries are lost, come
        twice, are changed, or go where no few windows lead.
    """
    sizes = [math.prod(shape) for shape in shapes]
    ends = np.cumsum(sizes)
    there_are = sum(tensor.numel() for tensor in model.values())
    if not all(sizes) or ends[-1] >= _MOST or ends[-1] != there_are:
        return []
    numbers = torch.arange(int(ends[-1]), dtype=torch.int32, device="cpu")
    parts = torch.split(numbers, sizes)
    made = convert([part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)])
    found: list[list[Part]] = [[] for _ in shapes]
    for name, tensor in made.items():
        there = model.get(name)
        if there is None or tensor.shape != there.shape or tensor.dtype != torch.int32:
            return []
        origins = tensor.reshape(-1).numpy()
        if origins.min(initial=0) < 0 or origins.max(initial=0) >= ends[-1]:
            return []
        for number, (end, size) in enumerate(zip(ends, sizes, strict=True)):
            chosen = np.flatnonzero((origins >= end - size) & (origins < end))
            if not len(chosen):
                continue
            memory = chosen.astype(np.int32) if there.is_contiguous() else _memory(there, chosen)
            part = _part(name, origins[chosen] - np.int32(end - size), memory, shapes[number])
            if part is None:
                return []
            found[number].append(part)
    complete = all(map(_is_whole, found, shapes))
    return [tuple(parts) for parts in found] if complete else []


def _memory(tensor: torch.Tensor, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where in memory the entries at some flat positions of a tensor are."""
    indices = np.unravel_index(positions, tuple(tensor.shape))
    strides = tensor.stride()
    return sum((i * s for i, s in zip(indices, strides, strict=True)), np.zeros_like(positions))


def _part(
    name: str, origins: NDArray[_Index], memory: NDArray[_Index], shape: tuple[int, ...]
) -> Part | None:
    """The part of a model's tensor that takes some entries of a file's; ``None`` for no window."""
    first = int(origins[0]), int(memory[0])
    found = _sides(origins, memory)
    if found is None:
        return None
    found.sort(key=lambda side: side[1])
    if len(origins) == math.prod(shape):
        sides = _onto(shape, found)
        if sides is None or first[0]:
            return None
        form = tuple(side for side, _, _ in sides)
        strides = tuple(there for _, _, there in sides)
        return Part(name, Window(first[1], shape, strides, None if form == shape else form))
    form = tuple(side for side, _, _ in found[::-1])
    here, there = (tuple(side[n] for side in found[::-1]) for n in (1, 2))
    return Part(name, Window(first[1], form, there), Window(first[0], form, here))


def _sides(origins: NDArray[_Index], memory: NDArray[_Index]) -> _Sides | None:
    """The sides of two windows that see these entries in this order."""
    sides: _Sides = []
    while len(origins) > 1:
        here, there = int(origins[1] - origins[0]), int(memory[1] - memory[0])
        even = (np.diff(origins) == here) & (np.diff(memory) == there)
        run = len(origins) if even.all() else int(even.argmin()) + 1
        if here <= 0 or there <= 0 or len(origins) % run:
            return None
        rows, places = origins.reshape(-1, run), memory.reshape(-1, run)
        if not (_is_even(rows, here) and _is_even(places, there)):
            return None
        sides.append((run, here, there))
        origins, memory = rows[:, 0], places[:, 0]
    return sides


def _is_even(rows: NDArray[_Index], stride: int) -> bool:
    return bool((np.diff(rows, axis=1) == stride).all())


def _onto(shape: tuple[int, ...], found: _Sides) -> _Sides | None:
    """The sides of all of a tensor, cut where those of its shape end; from the first to the last.

    ``None`` if they do not see all entries in the tensor's own order, or cannot be cut so.
    """
    left, made, stride = list(found), [], 1
    for size in reversed(shape):
        if size == 1:
            made.append((1, stride, 1))
            continue
        wanted = size
        while wanted > 1:
            if not left:
                return None
            side, here, there = left.pop(0)
            if here != stride:
                return None
            if side > wanted:
                if side % wanted:
                    return None
                left.insert(0, (side // wanted, here * wanted, there * wanted))
                side = wanted
            elif wanted % side:
                return None
            made.append((side, here, there))
            wanted //= side
            stride *= side
    return made[::-1] if not left else None


def _is_whole(parts: Sequence[Part], shape: tuple[int, ...]) -> bool:
    """Whether parts hold every entry of a tensor once."""
    if len(parts) == 1 and parts[0].at is None:
        return True
    counts = np.zeros(shape, np.uint8)
    for part in parts:
        if part.at is None:
            return False
        part.at.of_array(counts, writeable=True)[...] += 1
    return bool((counts == 1).all())
