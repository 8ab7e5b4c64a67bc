"""What is added up of one unit of one task while its chunks go by."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.reporting._loops import BINS
from tvbank.reporting.facts import EncodingCosts, Trimmed

#: Densities that TIES is asked about, beside the report's own.
DENSITIES = (0.05, 0.1, 0.2, 0.3, 0.5)


@final
@dataclass
class Magnitudes:
    """Entries of a unit by the upper bits of their magnitudes; only bins that are not empty.

    Attributes:
        bins: int64 [k], ascending.
        counts: int64 [k], entries in each.
        squares: float64 [k], the sum of their squares.
    """

    bins: NDArray[np.int64]
    counts: NDArray[np.int64]
    squares: NDArray[np.float64]

    @staticmethod
    def of(counts: NDArray[np.int64], squares: NDArray[np.float64]) -> Magnitudes:
        """Of full tables, [``BINS``]."""
        bins = np.flatnonzero(counts)
        return Magnitudes(bins, counts[bins], squares[bins])

    def below(self, threshold: int) -> tuple[int, float]:
        """How many entries lie in bins below one, and the sum of their squares."""
        stop = int(np.searchsorted(self.bins, threshold))
        return int(self.counts[:stop].sum()), float(self.squares[:stop].sum())


NOTHING = Magnitudes(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))


@final
@dataclass
class UnitTotals:
    """One unit of one task.

    Attributes:
        nonzeros: entries that are stored.
        nbytes: of its frames, checksums included; or of a product.
        masks: frames by mask encoding.
        values: frames by value encoding.
        magnitudes: of its entries; None while they are not known.
        squares: of a product, ‖BA‖².
        apart: ‖restored − fine-tune‖²; None without the fine-tune.
        wanted: ‖fine-tune − base‖².
    """

    nonzeros: int = 0
    nbytes: int = 0
    masks: Counter[str] = field(default_factory=Counter)
    values: Counter[str] = field(default_factory=Counter)
    magnitudes: Magnitudes | None = None
    squares: float | None = None
    apart: float | None = None
    wanted: float = 0.0

    @property
    def norm(self) -> float | None:
        """The Euclidean norm of the entries, if it is known."""
        squares = self.squares
        if squares is None and self.magnitudes is not None:
            squares = float(self.magnitudes.squares.sum())
        return None if squares is None or not math.isfinite(squares) else math.sqrt(squares)

    @property
    def error(self) -> float | None:
        """What is lost, as a share of the task vector; 0 of nothing is 0."""
        return None if self.apart is None else share(self.apart, self.wanted)


def share(apart: float, wanted: float) -> float | None:
    """√(apart / wanted), if that is a number."""
    if wanted == 0:
        return 0.0 if apart == 0 else None
    ratio = apart / wanted
    return math.sqrt(ratio) if math.isfinite(ratio) else None


@final
@dataclass
class SectionTotals:
    """Sections of one kind, of one task.

    Attributes:
        frames: by encoding.
        measured: frames that were counted in all encodings.
        chosen: bytes of their sections as they are stored.
        costs: bytes by encoding; None once one could not hold a section.
    """

    frames: Counter[str] = field(default_factory=Counter)
    measured: int = 0
    chosen: int = 0
    costs: dict[str, int | None] = field(default_factory=dict)

    def add(self, chosen: int, sizes: Mapping[str, int | None]) -> None:
        """Count one frame more."""
        for name, size in sizes.items():
            before = self.costs.get(name, 0)
            self.costs[name] = None if before is None or size is None else before + size
        self.measured += 1
        self.chosen += chosen

    def facts(self) -> EncodingCosts | None:
        """For the report."""
        if not self.frames:
            return None
        ordered = dict(self.frames.most_common())
        return EncodingCosts(ordered, self.measured, self.chosen, dict(self.costs))


def trimming(units: Mapping[str, UnitTotals], parameters: int, density: float) -> int | None:
    """The bin from which on TIES keeps entries of a task; None if all that is stored is kept.

    Args:
        units: all of the task's, with their magnitudes.
        parameters: n, entries of the whole task vector, zeros counted.
        density: share of them to keep.
    """
    quota = math.ceil(Fraction(repr(float(density))) * parameters)
    counts = np.zeros(BINS, np.int64)
    for totals in units.values():
        if totals.magnitudes is not None:
            counts[totals.magnitudes.bins] += totals.magnitudes.counts
    if int(counts.sum()) <= quota:
        return None
    from_above = np.cumsum(counts[::-1])
    return BINS - 1 - int(np.searchsorted(from_above, quota))


def trimmed(
    units: Mapping[str, UnitTotals], parameters: int, densities: tuple[float, ...]
) -> tuple[Trimmed, ...]:
    """What TIES would trim at some densities; nothing if it is not known of a unit."""
    if any(totals.magnitudes is None for totals in units.values()):
        return ()
    found = []
    for density in densities:
        place = trimming(units, parameters, density)
        below = [each.magnitudes.below(place or 0) for each in units.values() if each.magnitudes]
        entries, squares = sum(one for one, _ in below), math.fsum(two for _, two in below)
        stored = sum(each.nonzeros for each in units.values())
        whole = math.fsum(float(m.squares.sum()) for e in units.values() if (m := e.magnitudes))
        least = 0.0 if place is None else float(np.uint32(place << 16).view(np.float32))
        lost = squares / whole if whole and math.isfinite(whole) else 0.0
        found.append(Trimmed(density, least, entries, entries / stored if stored else 0.0, lost))
    return tuple(found)


def trimmed_of(totals: UnitTotals, place: int | None) -> float | None:
    """The share of a unit's stored entries that TIES would trim."""
    if totals.magnitudes is None or not totals.nonzeros:
        return None
    return 0.0 if place is None else totals.magnitudes.below(place)[0] / totals.nonzeros


def finite(value: Any) -> float | None:
    """A number, or None if it is none."""
    return float(value) if value is not None and math.isfinite(value) else None
