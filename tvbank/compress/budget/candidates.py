"""One unit under a budget: what can be kept of it, at what bytes and what harm.

Bytes are predicted by entropy, corrected by what the bank's encoder makes of a few densities.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, TypeVar, final

import numpy as np
from numpy.typing import NDArray

from tvbank.compress.budget.choices import Choices, Magnitudes, count_magnitudes, list_choices
from tvbank.compress.budget.drawing import Draw, Rows, draw, row_width, survey_rows
from tvbank.compress.budget.products import Option, Products
from tvbank.compress.lossy import Choice, Difference
from tvbank.compress.protocol import Entries, PairedUnit, Pairs

_Result = TypeVar("_Result")

#: Entries of a unit whose parts are spread over cores, rather than it beside others; and of units
#: that are in memory at once.
_LARGE: Final = 2**21
_TOGETHER: Final = 2**23
#: Densities at which the encoder is asked, if no size says which will be wanted; by how much two
#: are below and above the one that will; and the chunks of a unit that it encodes then.
_DENSITIES: Final = (0.003, 0.02, 0.08, 0.3)
_AROUND: Final = 4.0
_ASKED: Final = 8
#: Above this density nearly everything is kept.
_DENSE: Final = 0.6
#: Halvings of the interval of densities.
_HALVINGS: Final = 30
#: A frame's header and its checksum; one magnitude.
_FRAME_BYTES, _PATTERN_BYTES = 24 + 4, 4
#: Entries of a usual chunk; only the small change of a frame's header depends on it.
_CHUNK: Final = 2**18
#: A unit is expected to take as a product so many bytes at most, and so many times its share of
#: all bytes by its entries.
_LIKELY_BYTES: Final = 2048
_LIKELY: Final = 8
#: The harm of losing all of a unit, as a power of its squared norm: 1 would be the plain squared
#: error, 0 the same for every unit. Chosen as the numbers of ``choices.py`` are.
_UNIT_POWER: Final = 0.5


@final
@dataclass(frozen=True)
class Kept:
    """What is kept of a unit.

    Attributes:
        rows: of the unit.
        how: its entries are drawn; None if no entries are kept.
        option: the product that the unit is kept as instead.
    """

    rows: Rows
    how: Draw | None
    option: Option | None = None


@final
@dataclass(eq=False)
class Candidate:
    """A unit and its choices.

    Attributes:
        name: of the unit.
        rows: of it.
        spreads: what can be drawn of its magnitudes, in bins, by power.
        choices: what can be kept.
        weight: the harm of keeping nothing.
        sizes: float64 [c + p], predicted bytes of each choice, and those of each product.
        harm: float64 [c + p], as a share of the harm of keeping nothing.
        products: that the unit can be kept as instead; None if entries alone are asked for. With
            them, harm is what is lost of the sum of squares.
        measured: exact bytes of choices, as far as they are known.
    """

    name: str
    rows: Rows
    spreads: Sequence[Magnitudes]
    choices: Choices
    weight: float
    sizes: NDArray[np.float64]
    harm: NDArray[np.float64]
    products: Products | None = None
    measured: dict[int, int] = field(default_factory=lambda: {0: 0})

    def keep(self, choice: int) -> Kept:
        """What a choice keeps."""
        if self.products is not None and choice >= len(self.choices.levels):
            option = self.products.options[choice - len(self.choices.levels)]
            return Kept(self.rows, None, option)
        power, levels = int(self.choices.powers[choice]), int(self.choices.levels[choice])
        step, size = float(self.choices.steps[choice]), float(self.choices.sizes[choice])
        return Kept(self.rows, Draw(power, step, levels, size) if levels else None)


def of_each(
    pairs: Pairs,
    units: Iterable[PairedUnit],
    work: Callable[[Pairs, PairedUnit, Difference], _Result],
) -> Iterator[_Result]:
    """Do some work on every unit: small ones side by side, the parts of a large one likewise.

    All of them are read by the calling thread, some at a time.

    Args:
        pairs: the task vector.
        units: of it.
        work: called with the task vector, a unit and its difference, on any thread.

    Returns:
        What it returned, in the order of the units.
    """
    alone = copy.copy(pairs)
    alone.each = map  # a thread that waits for its own pool would wait for ever
    together: list[tuple[PairedUnit, Difference]] = []
    entries = 0

    def finish() -> Iterable[_Result]:
        return pairs.each(lambda each: work(alone, *each), together)

    for unit in units:
        delta = Difference(unit.name, *pairs.read(unit.name))
        if delta.size > _LARGE:
            yield from finish()
            together, entries = [], 0
            yield work(pairs, unit, delta)
            continue
        together.append((unit, delta))
        entries += delta.size
        if entries > _TOGETHER:
            yield from finish()
            together, entries = [], 0
    yield from finish()


def densities_for(bits: float) -> tuple[float, float]:
    """Two densities, below and above the one that a size allows on average.

    Args:
        bits: for an entry: its share of the mask, and a sign if it is kept.
    """
    low, high = 0.0, 0.5
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        entropy = -middle * math.log2(middle) - (1 - middle) * math.log2(1 - middle)
        low, high = (middle, high) if entropy + middle < bits else (low, middle)
    return high / _AROUND, min(high * _AROUND, _DENSE)


def survey(
    pairs: Pairs,
    unit: PairedUnit,
    delta: Difference | None = None,
    *,
    densities: Sequence[float] = _DENSITIES,
    products: int | None = None,
) -> Candidate:
    """Count a unit's entries, and ask the bank's encoder what a few densities cost.

    Args:
        pairs: the task vector.
        unit: of it.
        delta: its difference; by default it is read.
        densities: at which the encoder is asked.
        products: bytes that a unit may take as a product; None if it may not be one.

    Raises:
        NonFiniteError: an entry is not finite.
    """
    delta = Difference(unit.name, *pairs.read(unit.name)) if delta is None else delta
    rows = survey_rows(delta, row_width(unit.shape), pairs.each)
    spreads = count_magnitudes(delta, rows, pairs.each)
    choices = list_choices(spreads)

    def ask(step: float) -> int:
        drawn = entries_of(delta, Kept(rows, Draw(0, step, 1, 1.0)))
        return pairs.frame_bytes(unit.name, drawn, of_chunks=_ASKED)

    sizes = _Rate(delta.size, choices, ask, densities).predict(choices)
    weight = rows.energy**_UNIT_POWER
    plain = Candidate(unit.name, rows, spreads, choices, weight, sizes, choices.harm)
    if products is None:
        return plain
    share = products * delta.size / max(pairs.parameters, 1)
    most = min(products, _LIKELY_BYTES + int(_LIKELY * share))
    size_of = partial(pairs.product_bytes, unit.name)
    return _with_products(plain, Products.of(delta, unit.shape, rows.energy, size_of, most))


def _with_products(plain: Candidate, found: Products) -> Candidate:
    """A unit that is entries or a product, whichever loses fewer squares for its bytes."""
    likely = [each.likely for each in found.options]
    lost = np.array([each.lost for each in found.options], np.float64)
    return replace(
        plain, weight=plain.rows.energy, sizes=np.append(plain.sizes, likely),
        harm=np.append(plain.choices.lost, lost), products=found,
    )  # fmt: skip


def entries_of(delta: Difference, kept: Kept) -> Entries:
    """What is kept of a unit, piece by piece."""

    def entries(start: int, stop: int) -> NDArray[np.float32]:
        if kept.how is None or start == stop:
            return np.zeros(stop - start, np.float32)
        return draw(delta, kept.rows, kept.how, start, stop)

    return entries


def choices_of(kept: Mapping[str, Kept]) -> dict[str, Choice]:
    """What makes a unit's entries of its difference, by name."""
    return {name: partial(entries_of, kept=each) for name, each in kept.items()}


@final
class _Rate:
    """Predicts bytes of a unit's frames from the number of its kept entries."""

    def __init__(
        self,
        size: int,
        choices: Choices,
        ask: Callable[[float], int],
        densities: Sequence[float],
    ) -> None:
        """Ask the encoder at a few densities.

        Args:
            size: entries of the unit.
            choices: what can be kept of it.
            ask: the bytes of drawing to one level with a step.
            densities: at which it is asked.
        """
        self._size, self._chunks = size, -(-size // _CHUNK)
        drawn = np.flatnonzero((choices.levels == 1) & (choices.powers == 0))
        kept = choices.kept[drawn]  # falling, as steps rise
        asked = {}
        for density in densities:
            place = int(np.searchsorted(-kept, -density * size))
            if place < len(kept) and kept[place] < size:
                count = kept[place : place + 1]
                bare = ask(float(choices.steps[drawn[place]])) - count[0] / 8
                mask = bare - self._chunks * (_FRAME_BYTES + _PATTERN_BYTES)
                entropy = max(float(self._entropy(count)[0]), 1e-9)
                asked[float(count[0])] = math.log(max(mask / entropy, 0.05))
        self._places = np.log(np.array(sorted(asked), np.float64))
        self._factors = np.array([asked[count] for count in sorted(asked)])

    def predict(self, choices: Choices) -> NDArray[np.float64]:
        """Bytes of each choice, float64 [c]; 0 for keeping nothing."""
        kept = choices.kept
        mask = self._entropy(kept)
        if self._places.size:
            places = np.log(np.maximum(kept, 1))
            mask = mask * np.exp(np.interp(places, self._places, self._factors))
        patterns = np.where(choices.levels > 1, 2 * choices.levels, 1)
        bits = 1 + np.log2(np.maximum(choices.levels, 1))
        chunks = np.minimum(kept, self._chunks)
        heads = chunks * (_FRAME_BYTES + patterns * _PATTERN_BYTES)
        sizes: NDArray[np.float64] = mask + kept * bits / 8 + heads
        return sizes

    def _entropy(self, kept: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bytes that a mask needs whose entries are independent."""
        share = np.minimum(kept / max(self._size, 1), 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            bits = -share * np.log2(share) - (1 - share) * np.log2(1 - share)
        entropy: NDArray[np.float64] = self._size * np.nan_to_num(bits) / 8
        return entropy
