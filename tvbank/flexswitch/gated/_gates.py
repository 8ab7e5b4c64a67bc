"""The gates and quantisers of one unit as functions of its learned scalars ([F] Eq. 6-8, 12-15).

The scalars of a unit are one row of seven numbers: s₊, s₋ (where the thresholds lie), κ (the
scale), and one logit for each bit width. Kernels get them as one row of constants, ``Constants``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from tvbank.flexswitch.gated._facts import Facts

#: Bit widths to choose from, W in the paper.
WIDTHS: Final = (1, 2, 4, 8)
#: Places of the scalars in a row.
PLUS, MINUS, KAPPA, LOGITS = 0, 1, 2, slice(3, 3 + len(WIDTHS))
SCALARS: Final = 3 + len(WIDTHS)

#: A row of constants: 4 of the gates, 2 of the quantiser, then 4 for each width.
CONSTANTS: Final = 6 + 4 * len(WIDTHS)

_LOG2E = 1 / math.log(2)
#: So far away that no entry reaches it: the threshold of a sign that does not occur.
FAR = 2.0**120


def initial(units: int) -> NDArray[np.float64]:
    """Where learning starts, [units, 7]: thresholds half way, scale 1, all widths alike."""
    rows = np.zeros((units, SCALARS))
    rows[:, KAPPA] = math.log(math.e - 1)  # softplus of it is 1
    return rows


def softplus(x: float) -> float:
    """log(1 + e^x)."""
    return float(np.logaddexp(0.0, x))


def threshold(facts: Facts, sign: int, logit: float) -> float:
    """t± = v±_min + φ(s±)·r±, φ(x) = arctan(x)/π + ½ ([F] Eq. 7)."""
    start, length = facts.range(sign)
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
    def of(facts: Facts, bits: int) -> Levels:
        """The levels of a unit that is not empty."""
        positive, negative = facts.greatest
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


def constants(facts: Facts, row: NDArray[np.float64], temperature: float) -> NDArray[np.float32]:
    """What the kernels need of a unit's scalars: float32 [22].

    Args:
        facts: of a unit that is not empty.
        row: its scalars, float64 [7].
        temperature: ρ and ω, which follow the same schedule.
    """
    found = np.zeros(CONSTANTS)
    for sign, logit in ((0, row[PLUS]), (1, row[MINUS])):
        length = facts.range(sign)[1]
        found[2 * sign] = threshold(facts, sign, logit) if length else FAR
        found[2 * sign + 1] = _LOG2E / (temperature * (length or 1.0))
    found[4] = facts.greatest[1]
    found[5] = 2 ** WIDTHS[-1] / sum(facts.greatest)
    weights = shares(row[LOGITS], temperature)
    for place, bits in enumerate(WIDTHS):
        levels = Levels.of(facts, bits)
        share = weights[place]
        found[6 + 4 * place : 10 + 4 * place] = levels.step, levels.lowest, levels.highest, share
    return found.astype(np.float32)


def gradient(
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
    found = np.zeros(SCALARS)
    found[:2] = -scale * sums[4:] * slope(row) / temperature
    mixed = float(weights @ sums[:4])
    found[KAPPA] = mixed / (1 + math.exp(-min(max(row[KAPPA], -700.0), 700.0)))
    found[LOGITS] = scale * weights * (sums[:4] - mixed) / temperature
    return found


def slope(row: NDArray[np.float64]) -> NDArray[np.float64]:
    """φ'(s±) = 1 / (π (1 + s²)), float64 [2]: how fast the thresholds move, as a share of r±."""
    return np.asarray(1 / (math.pi * (1 + row[:2] ** 2)))
