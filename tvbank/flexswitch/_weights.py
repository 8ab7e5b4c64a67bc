"""The model's weights while it learns: made of both versions of every unit, on all cores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, final

import numpy as np
import torch
from numpy.typing import NDArray

from tvbank.compress import Pairs
from tvbank.compress.protocol import Each

#: Entries that are worked on at a time; a multiple of the entries that are drawn together.
BLOCK: Final = 2**17

#: Number of a unit, and a range of its entries.
Piece = tuple[int, int, int]
#: Fills float32 [stop - start] with the weights of a piece.
Fill = Callable[[int, int, int, NDArray[np.float32]], None]


@final
class Weights:
    """Both versions of all units, where they are stored, and new weights made of them.

    Attributes:
        names: of the units.
        sizes: entries of each.
        each: spreads work over cores, as ``map`` does.
    """

    def __init__(self, pairs: Pairs, models: Mapping[str, torch.Tensor]) -> None:
        """Look every unit up; its entries are read when they are needed.

        Args:
            pairs: the base and the fine-tune.
            models: the model's own tensors, by name of the unit: new weights have their element
                types and are on their devices.
        """
        self.names: Sequence[str] = [unit.name for unit in pairs.units]
        self.each: Each = pairs.each
        self._shapes = [unit.shape for unit in pairs.units]
        self._arrays = [pairs.read(name) for name in self.names]
        self.sizes = [base.size for base, _ in self._arrays]
        self._dtypes = [models[name].dtype for name in self.names]
        self._devices = [models[name].device for name in self.names]
        pieces = [
            (number, start, stop)
            for number in range(len(self.names))
            for start, stop in self._blocks(number)
        ]
        self._jobs = list(_grouped(pieces))

    def both(self, number: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """A unit's weights in the base and in the fine-tune."""
        return self._arrays[number]

    def block(
        self, number: int, start: int, stop: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Entries of both versions in float32, read-only, so that kernels have one signature."""
        base, tuned = self._arrays[number]
        return _single(base, start, stop), _single(tuned, start, stop)

    def tuned(self, number: int, start: int, stop: int, out: NDArray[np.float32]) -> None:
        """Fill with the fine-tuned weights; a ``Fill``."""
        out[:] = self._arrays[number][1].reshape(-1)[start:stop]

    def make(self, fill: Fill) -> dict[str, torch.Tensor]:
        """New weights for the model, by name."""
        made = [
            torch.empty(shape, dtype=dtype)
            for shape, dtype in zip(self._shapes, self._dtypes, strict=True)
        ]

        def work(job: list[Piece]) -> None:
            for number, start, stop in job:
                _filled(made[number], number, start, stop, fill)

        for _ in self.each(work, self._jobs):
            pass
        return {
            name: weight.to(device)
            for name, weight, device in zip(self.names, made, self._devices, strict=True)
        }

    def make_one(self, number: int, fill: Fill) -> torch.Tensor:
        """New weights of one unit for the model: the same numbers as ``make`` gives it."""
        made = torch.empty(self._shapes[number], dtype=self._dtypes[number])
        self.over_blocks(number, lambda start, stop: _filled(made, number, start, stop, fill))
        return made.to(self._devices[number])

    def over_blocks(self, number: int, work: Callable[[int, int], Any]) -> list[Any]:
        """The results of ``work(start, stop)`` for every block of a unit, on all cores."""
        ranges = self._blocks(number)
        spread = self.each if len(ranges) > 1 else map
        return list(spread(lambda part: work(*part), ranges))

    def _blocks(self, number: int) -> list[tuple[int, int]]:
        size = self.sizes[number]
        return [(start, min(start + BLOCK, size)) for start in range(0, size, BLOCK)]


@final
class Made(Mapping[str, torch.Tensor]):
    """The weights of every unit by name, made at each look-up."""

    def __init__(self, weights: Weights, fill: Fill) -> None:
        self._weights, self._fill = weights, fill
        self._numbers = {name: number for number, name in enumerate(weights.names)}

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._weights.make_one(self._numbers[name], self._fill)

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


def _filled(made: torch.Tensor, number: int, start: int, stop: int, fill: Fill) -> None:
    """Fill a piece of a unit's new weights."""
    flat = made.view(-1)[start:stop]
    direct = flat.dtype == torch.float32
    out = flat.numpy() if direct else np.empty(stop - start, np.float32)
    fill(number, start, stop, out)
    if not direct:
        flat.copy_(torch.from_numpy(out))


def flattened(gradient: torch.Tensor) -> Callable[[int, int], NDArray[np.float32]]:
    """The gradient in a unit's weights: a function that gives entries of it in float32."""
    dense = gradient.to_dense() if gradient.is_sparse else gradient
    flat = dense.detach().reshape(-1)

    def block(start: int, stop: int) -> NDArray[np.float32]:
        array: NDArray[np.float32] = flat[start:stop].to("cpu", torch.float32).contiguous().numpy()
        return array

    return block


def _single(array: NDArray[Any], start: int, stop: int) -> NDArray[np.float32]:
    block = array.reshape(-1)[start:stop].astype(np.float32, copy=False)
    if block.flags.writeable:
        block = block.view()
        block.flags.writeable = False
    return block


def _grouped(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Pieces in groups of at most a block's entries, each group the work of one core."""
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
