"""Sizes that a person asks for: ``"0.3 bits/param"``, ``"1.5 MiB"``, ``"30 % of the adapter"``."""

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
_OF_ADAPTER = {"% of the adapter", "% of adapter"}
_BITS = {f"{bits}{by}{what}" for bits in ("bit", "bits") for by in ("/", " per ")
         for what in ("param", "params", "parameter", "weight")}  # fmt: skip


@final
@dataclass(frozen=True)
class Target:
    """A size that depends on the task, until the task is known.

    Attributes:
        amount: the number, above 0.
        unit: ``"bits"`` a parameter, ``"bytes"``, ``"share"`` of the base's bytes, or ``"part"`` of
            those of an adapter's own tensors.
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
            elif unit in _OF_ADAPTER:
                target = Target(amount / 100, "part")
            elif unit in _BYTES:
                target = Target(amount * _BYTES[unit], "bytes")
            elif unit.replace(" / ", "/") in _BITS:
                target = Target(amount, "bits")
            else:
                match = None
            if match and 0 < amount < math.inf:
                return target
        raise UsageError(
            f"a size is a number above 0 with its unit, such as '0.3 bits/param', '1.5 MiB', "
            f"'1 %' of the base's bytes, or '30 % of the adapter'; got {text!r}"
        )

    def in_bytes(self, parameters: int, base_bytes: int, adapter_bytes: int | None = None) -> int:
        """Whole bytes for a task.

        Args:
            parameters: entries of all its units.
            base_bytes: size of the base's weights.
            adapter_bytes: size of the tensors of the adapter, if it is one that stays products.

        Raises:
            UsageError: a share is asked for of an adapter that there is not.
        """
        if self.unit == "part" and adapter_bytes is None:
            raise UsageError(
                "a size 'of the adapter' is for LoRA adapters and Budget: give '1 %', which is of "
                "the base's bytes, or a size in bytes"
            )
        of = {
            "bits": parameters / 8, "bytes": 1, "share": base_bytes, "part": adapter_bytes or 0,
        }  # fmt: skip
        return int(self.amount * of[self.unit])
