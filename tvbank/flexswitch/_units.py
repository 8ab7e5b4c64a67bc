"""All units of a task vector: soft weights out, gradients in, on all cores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from tvbank.compress import Pairs
from tvbank.flexswitch._facts import BLOCK, Facts, survey
from tvbank.flexswitch._gates import CONSTANTS, KAPPA, constants, gradient, softplus
from tvbank.flexswitch._kernels import count_open, reduce, soften

#: Takes the gradient in a weight.
Sink = Callable[[torch.Tensor], None]

#: Number of a unit, and a range of its entries.
_Piece = tuple[int, int, int]


@final
@dataclass(frozen=True)
class Softened:
    """Weights with soft gates, and sums over each unit's entries.

    Attributes:
        weights: by name of the unit, in the model's element types, on its devices.
        gates: sums of M, M₊(1 − M₊) and M₋(1 − M₋), float64 [units, 3].
    """

    weights: dict[str, torch.Tensor]
    gates: NDArray[np.float64]


@final
class Units:
    """The units, their facts, and both versions of their weights where they are.

    Attributes:
        names: of the units.
        facts: of each.
        entries: entries of all units.
        reached: which units the loss has had a gradient in so far, bool [units].
    """

    def __init__(self, pairs: Pairs) -> None:
        """Read every unit once.

        Raises:
            NonFiniteError: names the unit.
        """
        self.names = [unit.name for unit in pairs.units]
        self._shapes = [unit.shape for unit in pairs.units]
        self._arrays = [pairs.read(name) for name in self.names]
        self._each = pairs.each
        self.facts: list[Facts] = list(
            self._each(
                lambda item: survey(item[0], *item[1]),
                list(zip(self.names, self._arrays, strict=True)),
            )
        )
        self.sizes = np.array([facts.size for facts in self.facts], np.float64)
        self.entries = int(self.sizes.sum())
        self.full = np.array([not facts.empty for facts in self.facts], bool)
        self.reached = np.zeros(len(self.names), bool)
        pieces = [
            (number, start, min(start + BLOCK, facts.size))
            for number, facts in enumerate(self.facts)
            if not facts.empty
            for start in range(0, facts.size, BLOCK)
        ]
        self._jobs = list(_grouped(pieces))

    def constants(self, rows: NDArray[np.float64], temperature: float) -> NDArray[np.float32]:
        """What the kernels need of all units, float32 [units, 22]."""
        found = np.zeros((len(self.names), CONSTANTS), np.float32)
        for number in np.flatnonzero(self.full).tolist():
            found[number] = constants(self.facts[number], rows[number], temperature)
        return found

    def teacher(
        self, dtypes: Mapping[str, torch.dtype], devices: Mapping[str, torch.device]
    ) -> dict[str, torch.Tensor]:
        """Copies of the fine-tuned weights as the model takes them, by name."""
        found = {}
        for name, (_, tuned) in zip(self.names, self._arrays, strict=True):
            weight = torch.empty(tuned.shape, dtype=dtypes[name])
            flat, source = weight.view(-1), tuned.reshape(-1)
            for start in range(0, source.size, BLOCK):
                block = source[start : start + BLOCK].astype(np.float32)
                flat[start : start + BLOCK] = torch.from_numpy(block)
            found[name] = weight.to(devices[name])
        return found

    def soften(
        self,
        rows: NDArray[np.float64],
        temperature: float,
        dtypes: Mapping[str, torch.dtype],
        devices: Mapping[str, torch.device],
    ) -> Softened:
        """Base plus the soft entries of every unit."""
        table = self.constants(rows, temperature)
        scales = np.array([softplus(row[KAPPA]) for row in rows], np.float32)
        weights = [
            torch.empty(shape, dtype=dtypes[name])
            for name, shape in zip(self.names, self._shapes, strict=True)
        ]
        for number in np.flatnonzero(~self.full).tolist():
            base = self._arrays[number][0].astype(np.float32).reshape(-1)
            weights[number].view(-1).copy_(torch.from_numpy(base))

        def work(job: list[_Piece]) -> list[tuple[int, NDArray[np.float64]]]:
            done = []
            for number, start, stop in job:
                sums = np.zeros(3)
                base, tuned = self._block(number, start, stop)
                flat = weights[number].view(-1)[start:stop]
                direct = flat.dtype == torch.float32
                out = flat.numpy() if direct else np.empty(stop - start, np.float32)
                soften(base, tuned, scales[number], table[number], out, sums)
                if not direct:
                    flat.copy_(torch.from_numpy(out))
                done.append((number, sums))
            return done

        gates = np.zeros((len(self.names), 3))
        for done in self._each(work, self._jobs):
            for number, sums in done:
                gates[number] += sums
        placed = {
            name: weight.to(devices[name]) for name, weight in zip(self.names, weights, strict=True)
        }
        return Softened(placed, gates)

    def count_open(self, rows: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
        """How many entries of each unit have a gate above ½, float64 [units]."""
        table = self.constants(rows, temperature)

        def work(job: list[_Piece]) -> list[tuple[int, float]]:
            return [(n, count_open(*self._block(n, a, b), table[n])) for n, a, b in job]

        counts = np.zeros(len(self.names))
        for done in self._each(work, self._jobs):
            for number, count in done:
                counts[number] += count
        return counts

    def reduce(
        self, number: int, gradient_: torch.Tensor, row: NDArray[np.float64], temperature: float
    ) -> NDArray[np.float64]:
        """The gradient in a unit's scalars, float64 [7].

        Args:
            number: of the unit.
            gradient_: of the loss in its weights.
            row: its scalars.
            temperature: ρ and ω.
        """
        dense = gradient_.to_dense() if gradient_.is_sparse else gradient_
        flat = dense.detach().reshape(-1)
        self.reached[number] = True
        facts = self.facts[number]
        table = constants(facts, row, temperature)

        def work(start: int) -> NDArray[np.float64]:
            stop = min(start + BLOCK, facts.size)
            sums = np.zeros(6)
            slopes = flat[start:stop].to("cpu", torch.float32).contiguous().numpy()
            reduce(*self._block(number, start, stop), slopes, table, sums)
            return sums

        starts = range(0, facts.size, BLOCK)
        parts = self._each(work, starts) if len(starts) > 1 else map(work, starts)
        return gradient(row, temperature, np.sum(list(parts), axis=0))

    def _block(
        self, number: int, start: int, stop: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Entries of both versions in float32, read-only, so that kernels have one signature."""
        base, tuned = self._arrays[number]
        return _single(base, start, stop), _single(tuned, start, stop)


def _single(array: NDArray[Any], start: int, stop: int) -> NDArray[np.float32]:
    block = array.reshape(-1)[start:stop].astype(np.float32, copy=False)
    if block.flags.writeable:
        block = block.view()
        block.flags.writeable = False
    return block


def _grouped(pieces: Iterable[_Piece]) -> Iterable[list[_Piece]]:
    """Pieces in groups of about as many entries as a block, each the work of one core."""
    group: list[_Piece] = []
    size = 0
    for piece in pieces:
        if group and size + piece[2] - piece[1] > BLOCK:
            yield group
            group, size = [], 0
        group.append(piece)
        size += piece[2] - piece[1]
    if group:
        yield group


class _Handed(torch.autograd.Function):
    """See ``hand``."""

    @staticmethod
    def forward(ctx: Any, anchor: torch.Tensor, weight: torch.Tensor, sink: Sink) -> torch.Tensor:
        """Pass the weight on."""
        ctx.sink = sink
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[None, None, None]:
        """Give the gradient away."""
        ctx.sink(gradients[0])
        return None, None, None


def hand(anchor: torch.Tensor, weight: torch.Tensor, sink: Sink) -> torch.Tensor:
    """A weight for the model whose gradient is given to ``sink`` and then forgotten.

    Args:
        anchor: any tensor that requires a gradient.
        weight: of a unit.
        sink: called with the gradient in the weight.
    """
    handed: torch.Tensor = _Handed.apply(anchor, weight, sink)  # type: ignore[no-untyped-call]
    return handed
