"""Rounding of exact fractions to floats of any kind."""

from __future__ import annotations

from fractions import Fraction


def rounded(value: Fraction, mantissa: int, smallest: int, overflow: int) -> float:
    """To the nearest float of so many mantissa bits and a unit of at least 2**smallest."""
    if not value:
        return 0.0
    exponent = abs(value).numerator.bit_length() - abs(value).denominator.bit_length()
    if abs(value) < Fraction(2) ** exponent:
        exponent -= 1
    unit = Fraction(2) ** max(exponent - mantissa, smallest)
    nearest = round(value / unit) * unit
    if abs(nearest) >= overflow:
        return float("inf") if value > 0 else float("-inf")
    return float(nearest)
