"""Weights of all units for the model, filled block by block on all cores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import torch
from numpy.typing import NDArray

from tvbank.compress import Pairs
from tvbank.compress._each import Each

#: Entries worked on at a time; a multiple of what is drawn together.
BLOCK: Final = 2**17

#: Number of a unit, and a range of its entries.
Piece = tuple[int, int, int]
#: Fills float32 [stop - start] with the weights of a piece.
Fill = Callable[[int, int, int, NDArray[np.float32]], None]


@final
@dataclass(frozen=True)
class Placement:
    """How the model takes the weights of units.

    Attributes:
        dtypes: element type of each, by the bank's name.
        devices: where each is.
    """

    dtypes: Mapping[str, torch.dtype]
    devices: Mapping[str, torch.device]


@final
class Weights:
    """Both versions of all units where they are, and new weights made of them.

    Attributes:
        names: of the units.
        sizes: entries of each.
        each: spreads work over cores, as ``map`` does.
    """

    def __init__(self, pairs: Pairs, placement: Placement) -> None:
        """Read every unit's place, not its entries."""
        self.names: Sequence[str] = [unit.name for unit in pairs.units]
        self.each: Each = pairs.each
        self._shapes = [unit.shape for unit in pairs.units]
        self._arrays = [pairs.read(name) for name in self.names]
        self.sizes = [base.size for base, _ in self._arrays]
        self._placement = placement
        pieces = [
            (number, start, min(start + BLOCK, size))
            for number, size in enumerate(self.sizes)
            for start in range(0, size, BLOCK)
        ]
        self._jobs = list(_grouped(pieces))

    def both(self, number: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """A unit's weights in the base and after fine-tuning."""
        return self._arrays[number]

    def block(
        self, number: int, start: int, stop: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Entries of both versions in float32, read-only, so that kernels have one signature."""
        base, tuned = self._arrays[number]
        return _single(base, start, stop), _single(tuned, start, stop)

    def tuned(self) -> dict[str, torch.Tensor]:
        """Copies of the fine-tuned weights as the model takes them, by name."""

        def fill(number: int, start: int, stop: int, out: NDArray[np.float32]) -> None:
            out[:] = self._arrays[number][1].reshape(-1)[start:stop]

        return self.make(fill)

    def make(self, fill: Fill) -> dict[str, torch.Tensor]:
        """New weights as the model takes them, by name."""
        dtypes, devices = self._placement.dtypes, self._placement.devices
        made = [
            torch.empty(shape, dtype=dtypes[name])
            for name, shape in zip(self.names, self._shapes, strict=True)
        ]

        def work(job: list[Piece]) -> None:
            for number, start, stop in job:
                flat = made[number].view(-1)[start:stop]
                direct = flat.dtype == torch.float32
                out = flat.numpy() if direct else np.empty(stop - start, np.float32)
                fill(number, start, stop, out)
                if not direct:
                    flat.copy_(torch.from_numpy(out))

        for _ in self.each(work, self._jobs):
            pass
        return {
            name: weight.to(devices[name]) for name, weight in zip(self.names, made, strict=True)
        }

    def over_blocks(self, number: int, work: Callable[[int, int], Any]) -> list[Any]:
        """What ``work(start, stop)`` gives for every block of a unit, on all cores."""
        size = self.sizes[number]
        ranges = [(start, min(start + BLOCK, size)) for start in range(0, size, BLOCK)]
        spread = self.each if len(ranges) > 1 else map
        return list(spread(lambda part: work(*part), ranges))


def flat_slopes(slopes: torch.Tensor, start: int, stop: int) -> NDArray[np.float32]:
    """Entries of the gradient in a unit's weights, float32."""
    found: NDArray[np.float32] = slopes[start:stop].to("cpu", torch.float32).contiguous().numpy()
    return found


def flattened(gradient: torch.Tensor) -> torch.Tensor:
    """The gradient in a unit's weights, whatever its form, as a dense vector."""
    dense = gradient.to_dense() if gradient.is_sparse else gradient
    return dense.detach().reshape(-1)


def _single(array: NDArray[Any], start: int, stop: int) -> NDArray[np.float32]:
    block = array.reshape(-1)[start:stop].astype(np.float32, copy=False)
    if block.flags.writeable:
        block = block.view()
        block.flags.writeable = False
    return block


def _grouped(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Pieces in groups of about as many entries as a block, each the work of one core."""
    group: list[Piece] = []
    size = 0
    for piece in pieces:
        if group and size + piece[2] - piece[1] > BLOCK:
            yield group
            group, size = [], 0
        group.append(piece)
        size += piece[2] - piece[1]
    if group:
        yield group
