"""Sizes that a person asks for: ``"0.3 bits/param"``, ``"1.5 MiB"``, ``"1 %"``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import final

from tvbank.errors import UsageError

_NUMBER = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([a-zA-Z%/ ]+?)\s*")
_BYTES = {
    "b": 1, "byte": 1, "bytes": 1,
    "kb": 1000, "mb": 1000**2, "gb": 1000**3,
    "kib": 2**10, "mib": 2**20, "gib": 2**30,
}  # fmt: skip
_BITS = {f"{bits}{by}{what}" for bits in ("bit", "bits") for by in ("/", " per ")
         for what in ("param", "params", "parameter", "weight")}  # fmt: skip


@final
@dataclass(frozen=True)
class Target:
    """A size that depends on the task, until the task is known.

    Attributes:
        amount: the number, above 0.
        unit: ``"bits"`` a parameter, ``"bytes"``, or ``"share"`` of the base's bytes.
    """

    amount: float
    unit: str

    @staticmethod
    def parse(text: str) -> Target:
        """Read a size as a person writes it.

        Raises:
            UsageError: says what can be written.
        """
        match = _NUMBER.fullmatch(text) if isinstance(text, str) else None
        if match:
            amount, unit = float(match[1]), " ".join(match[2].lower().split())
            if unit == "%":
                target = Target(amount / 100, "share")
            elif unit in _BYTES:
                target = Target(amount * _BYTES[unit], "bytes")
            elif unit.replace(" / ", "/") in _BITS:
                target = Target(amount, "bits")
            else:
                match = None
            if match and 0 < amount < math.inf:
                return target
        raise UsageError(
            f"a size is a number above 0 with its unit, such as '0.3 bits/param', '1.5 MiB' or "
            f"'1 %' of the base's bytes; got {text!r}"
        )

    def in_bytes(self, parameters: int, base_bytes: int) -> int:
        """Whole bytes for a task.

        Args:
            parameters: entries of all its units.
            base_bytes: size of the base's weights.
        """
        factor = {"bits": parameters / 8, "bytes": 1, "share": base_bytes}[self.unit]
        return int(self.amount * factor)
