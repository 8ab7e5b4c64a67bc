"""The gates and quantisers of one unit as functions of its learned scalars ([F] Eq. 6-8, 12-15).

The scalars of a unit are one row of seven numbers: s₊, s₋ (which place the thresholds), κ (the
scale), and one logit for each bit width. The unit itself enters by the smallest
and largest magnitudes of its entries (``Extremes``). The kernels get all of it as one row,
``constants``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.kernel import kernel
from tvbank.compress import Difference
from tvbank.errors import NonFiniteError

#: Bit widths to choose from, W in the paper.
WIDTHS: Final = (1, 2, 4, 8)
#: Places of the scalars in a row.
PLUS, MINUS, KAPPA, LOGITS = 0, 1, 2, slice(3, 3 + len(WIDTHS))
SCALARS: Final = 3 + len(WIDTHS)

#: A row of constants: 4 of the gates, 2 of the quantiser, then 4 for each width.
CONSTANTS: Final = 6 + 4 * len(WIDTHS)

_LOG2E = 1 / math.log(2)
#: The threshold of a sign that does not occur: no entry is that large.
_FAR = 2.0**120
#: Entries that are worked on at a time.
_BLOCK = 2**17
#: float32 keeps thresholds, slopes and levels apart for magnitudes between these. A sign whose
#: entries are all smaller counts as one that does not occur: none of its entries is kept.
SMALLEST, LARGEST = 2.0**-80, 2.0**100


@final
@dataclass(frozen=True)
class Extremes:
    """Smallest and largest magnitudes of a unit's positive and negative entries.

    Of pairs, the first is for positive entries; both are 0 where the sign does not occur.

    Attributes:
        least: smallest magnitude of each sign, v±_min.
        greatest: largest magnitude of each sign, v±_max.
    """

    least: tuple[float, float]
    greatest: tuple[float, float]

    @property
    def empty(self) -> bool:
        """Whether nothing in the unit has changed."""
        return not any(self.greatest)

    def range(self, sign: int) -> tuple[float, float]:
        """Where the threshold of a sign moves: its start v_min and its length r ([F] Eq. 7).

        Where all magnitudes of a sign are equal the paper's r is 0 and its gate 0/0. There the
        threshold moves from 0 to twice the magnitude: everything is kept or nothing, and both can
        be learned.
        """
        least, greatest = self.least[sign], self.greatest[sign]
        if greatest - least <= greatest * 2.0**-20:
            return 0.0, 2 * greatest
        return least, greatest - least


def survey(unit: str, base: NDArray[Any], tuned: NDArray[Any]) -> Extremes:
    """Read a unit once.

    Raises:
        NonFiniteError: for NaN or infinity, unless nothing in the unit has changed, or a difference
            beyond 2**100.
    """
    delta = Difference(unit, base, tuned)
    total = np.array([np.inf, np.inf, 0.0, 0.0])
    starts = range(0, delta.size, _BLOCK)
    for start in starts:
        _extend(delta.block(start, min(start + _BLOCK, delta.size)), total)
    occurs = total[2:] >= SMALLEST
    total = np.where(np.tile(occurs, 2), total, 0.0)
    greatest = total[2:].max()
    if greatest > LARGEST:
        raise NonFiniteError(
            f"unit {unit!r} has a difference of {greatest:.3g}, more than FlexSwitch can take: "
            "use Exact (--method exact) or repair the checkpoint"
        )
    flat = base.reshape(-1)
    if occurs.any() and not all(_finite(flat[start : start + _BLOCK]) for start in starts):
        raise NonFiniteError(
            f"unit {unit!r} has entries that are NaN or infinite, beside others that changed; "
            "FlexSwitch cannot learn it: use Exact (--method exact) or repair the checkpoint"
        )
    return Extremes((float(total[0]), float(total[1])), (float(total[2]), float(total[3])))


def _finite(block: NDArray[Any]) -> bool:
    return bool(np.isfinite(block.astype(np.float32, copy=False)).all())


@kernel
def _extend(delta: Any, total: Any) -> None:
    """Extend the least and greatest magnitudes, positive entries before negative: float64 [4]."""
    for value in delta:
        if value != 0:
            sign = 0 if value > 0 else 1
            magnitude = abs(np.float64(value))
            total[sign] = min(total[sign], magnitude)
            total[2 + sign] = max(total[2 + sign], magnitude)


def initial(units: int) -> NDArray[np.float64]:
    """Where learning starts, [units, 7]: thresholds half way, scale 1, all widths alike."""
    rows = np.zeros((units, SCALARS))
    rows[:, KAPPA] = math.log(math.e - 1)  # softplus of it is 1
    return rows


def softplus(x: float) -> float:
    """log(1 + e^x)."""
    return float(np.logaddexp(0.0, x))


def threshold(extremes: Extremes, sign: int, logit: float) -> float:
    """t± = v±_min + φ(s±)·r±, φ(x) = arctan(x)/π + ½ ([F] Eq. 7)."""
    start, length = extremes.range(sign)
    return start + (math.atan(logit) / math.pi + 0.5) * length


def shares(logits: NDArray[np.float64], omega: float) -> NDArray[np.float64]:
    """softmax(w/ω), float64 [4]: how much of each width ([F] Eq. 12)."""
    scaled = (logits - logits.max()) / omega
    weights = np.exp(np.maximum(scaled, -700.0))
    return np.asarray(weights / weights.sum())


@final
@dataclass(frozen=True)
class Levels:
    """The values of one quantiser, before the scale ([F] Eq. 13), each owned by one sign.

    A bin around zero whose centre has one sign holds entries of both. So that no entry ever
    changes its sign, such a bin belongs to the sign of its centre, and the entries of the other
    sign move to the next bin of theirs. If there is none, the bin is theirs, at the centre of
    their half of it, and the other sign moves on. So b bits stay b bits, and with 1 bit the code
    is the sign.

    Attributes:
        offset: the centre of bin 0.
        step: δ, the width of a bin.
        first: the first bin of positive entries; those before it are of negative ones.
        lowest: value of the first positive bin.
        highest: value of the last negative bin.
    """

    offset: float
    step: float
    first: int
    lowest: float
    highest: float

    @staticmethod
    def of(extremes: Extremes, bits: int) -> Levels:
        """The levels of a unit that is not empty."""
        positive, negative = extremes.greatest
        count = 2**bits
        step = (positive + negative) / count
        offset = step / 2 - negative
        first = min(max(math.ceil(-offset / step), 0), count)
        if negative > 0:
            first = max(first, 1)
        if positive > 0:
            first = min(first, count - 1)
        lowest, highest = offset + first * step, offset + (first - 1) * step
        if lowest <= 0:  # the centre of the part of the bin above zero, and below
            lowest = (lowest + step / 2) / 2
        if highest >= 0:
            highest = (highest - step / 2) / 2
        return Levels(offset, step, first, lowest, highest)


def constants(
    extremes: Extremes, row: NDArray[np.float64], temperature: float, gated: bool = True
) -> NDArray[np.float32]:
    """What the kernels need of a unit's scalars: float32 [22].

    Args:
        extremes: of a unit that is not empty.
        row: its scalars, float64 [7].
        temperature: ρ and ω, which follow the same schedule.
        gated: otherwise M is one everywhere, whatever the thresholds.
    """
    table = np.zeros(CONSTANTS)
    for sign, logit in ((0, row[PLUS]), (1, row[MINUS])):
        length = extremes.range(sign)[1] if gated else 0.0
        table[2 * sign] = threshold(extremes, sign, logit) if length else _FAR
        table[2 * sign + 1] = _LOG2E / (temperature * (length or 1.0))
    if not gated:
        table[0] = -_FAR  # every entry is above it
    table[4] = extremes.greatest[1]
    table[5] = 2 ** WIDTHS[-1] / sum(extremes.greatest)
    weights = shares(row[LOGITS], temperature)
    for place, bits in enumerate(WIDTHS):
        levels = Levels.of(extremes, bits)
        share = weights[place]
        table[6 + 4 * place : 10 + 4 * place] = levels.step, levels.lowest, levels.highest, share
    return table.astype(np.float32)


def gradient_of_scalars(
    row: NDArray[np.float64], temperature: float, sums: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The gradient of the loss in a unit's scalars, float64 [7].

    Args:
        row: its scalars.
        temperature: ρ and ω.
        sums: float64 [6], over the entries, with g the gradient of the loss in an entry's weight:
            of g·M·Q(b) for each width; and of g·Q_M·M±·(1 − M±) for each sign.
    """
    weights = shares(row[LOGITS], temperature)
    scale = softplus(row[KAPPA])
    result = np.zeros(SCALARS)
    result[:2] = -scale * sums[4:] * slope(row) / temperature
    mixed = float(weights @ sums[:4])
    result[KAPPA] = mixed / (1 + math.exp(-min(max(row[KAPPA], -700.0), 700.0)))
    result[LOGITS] = scale * weights * (sums[:4] - mixed) / temperature
    return result


def slope(row: NDArray[np.float64]) -> NDArray[np.float64]:
    """φ'(s±) = 1 / (π (1 + s²)), float64 [2]: how fast the thresholds move, as a share of r±."""
    return np.asarray(1 / (math.pi * (1 + row[:2] ** 2)))
