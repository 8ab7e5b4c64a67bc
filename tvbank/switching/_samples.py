"""Samples of a model's weights, which show what was written behind torch's back.

Fused optimisers, ``.data``, numpy and other processes write without being counted. So before every
change some lines of 64 bytes of every tensor are compared with what they were after the change
before: eight lines a tensor, at places that are drawn anew each time. What writes to a share p of
the lines of a tensor is missed there with probability (1 − p)⁸; a step of an optimiser changes
nearly all lines of all tensors. At p = 0.5 that is once in 256 for one tensor, and once in 10²⁴ for
ten. What writes to a few entries of a large tensor is not seen.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import final

import numpy as np
import torch

from tvbank.switching._memory import memory_offsets, span
from tvbank.switching.loops.sample import LINES, digest_lines

#: Entries of a line on other devices and of other strides.
_ENTRIES = 16
_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@final
class Samples:
    """What some tensors hold at a few places."""

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        """Look at these tensors, once ``take`` is called."""
        seen = [(n, t.detach()) for n, t in enumerate(tensors) if _can_be_seen(t)]
        self._near = [number for number, tensor in seen if _is_one_span(tensor)]
        spans = [(t.data_ptr(), t.numel() * t.element_size()) for _, t in seen if _is_one_span(t)]
        self._spans = np.array(spans, np.int64).reshape(-1, 2)
        self._digests = np.zeros(len(spans), np.uint64)
        self._seed = np.uint64(0)
        far = [(number, tensor) for number, tensor in seen if not _is_one_span(tensor)]
        self._far = _Far(far) if far else None
        self._taken = False

    def take(self) -> None:
        """Expect what the tensors hold now, at other places than before."""
        self._taken = False
        self._seed = np.uint64(secrets.randbits(63))
        digest_lines(self._spans, self._seed, self._digests)
        if self._far is not None:
            self._far.take()
        self._taken = True

    def changed(self) -> list[int]:
        """Which of the tensors hold something else than when ``take`` was called."""
        if not self._taken:
            return []
        found = np.empty_like(self._digests)
        digest_lines(self._spans, self._seed, found)
        near = [self._near[row] for row in np.flatnonzero(found != self._digests).tolist()]
        return near if self._far is None else near + self._far.changed()


@final
class _Far:
    """Samples of what the loops cannot read: on other devices, or with gaps between entries.

    Torch's operations are counted by the tensor, so that places are drawn by the tensor too: lines
    at equal distances, from a place of their own.
    """

    def __init__(self, tensors: Sequence[tuple[int, torch.Tensor]]) -> None:
        self._tensors = tensors
        self._groups: dict[tuple[object, ...], list[tuple[int, torch.Tensor]]] = {}
        self._copies: list[torch.Tensor] = []
        self._picked: list[tuple[int, torch.Tensor, torch.Tensor]] = []

    def take(self) -> None:
        """See ``Samples.take``."""
        self._groups, self._picked = {}, []
        for number, tensor in self._tensors:
            flat = tensor.as_strided((span(tensor),), (1,)).view(_WORDS[tensor.element_size()])
            count = tensor.numel()
            if len(flat) != count:
                places = np.array(
                    [secrets.randbelow(count) for _ in range(min(count, LINES * _ENTRIES))]
                )
                offsets = torch.from_numpy(memory_offsets(tensor, places)).to(tensor.device)
                self._picked.append((number, flat, offsets))
                continue
            if count > LINES * _ENTRIES:
                step = (count - _ENTRIES) // LINES
                start = secrets.randbelow(count - _ENTRIES - (LINES - 1) * step + 1)
                first = int(flat.storage_offset())
                flat = flat.as_strided((LINES, _ENTRIES), (step, 1), first + start)
            key = (flat.device, flat.dtype, flat.ndim)
            self._groups.setdefault(key, []).append((number, flat))
        self._copies = self._read()

    def changed(self) -> list[int]:
        """See ``Samples.changed``."""
        changed: list[int] = []
        now = self._read()
        for members, here, there in zip(self._members(), now, self._copies, strict=True):
            if not torch.equal(here, there):
                ends = np.cumsum([len(view) for _, view in members])[:-1].tolist()
                pairs = zip(here.tensor_split(ends), there.tensor_split(ends), strict=True)
                changed += [
                    number
                    for (number, _), pair in zip(members, pairs, strict=True)
                    if not torch.equal(*pair)
                ]
        return changed

    def _members(self) -> list[list[tuple[int, torch.Tensor]]]:
        """Tensors that are read together, as (number, something of equal length)."""
        alone = [[(number, offsets)] for number, _, offsets in self._picked]
        return [*self._groups.values(), *alone]

    def _read(self) -> list[torch.Tensor]:
        together = [torch.cat([view for _, view in views]) for views in self._groups.values()]
        return together + [flat[offsets] for _, flat, offsets in self._picked]


def _can_be_seen(tensor: torch.Tensor) -> bool:
    plain = not (tensor.is_neg() or tensor.is_conj()) and tensor.layout == torch.strided
    return plain and tensor.numel() > 0 and tensor.element_size() in _WORDS


def _is_one_span(tensor: torch.Tensor) -> bool:
    """Whether a tensor is all of the memory from its first entry to its last, on the CPU."""
    return tensor.device.type == "cpu" and span(tensor) == tensor.numel()
