"""T-Switch: keep the largest entries of each sign, as signs and one magnitude ([F] Eq. 2-4)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray

from tvbank.checkpoint import TensorSpec
from tvbank.compress.lossy import Difference, is_float
from tvbank.compress.protocol import Compressor, Each, Entries
from tvbank.compress.selection import polarise, select
from tvbank.errors import UsageError

_LARGEST = float(np.finfo(np.float32).max)


@final
@dataclass(frozen=True)
class TSwitch(Compressor):
    """Training-free: of the n entries of each sign, drop the ``floor(drop * n)`` smallest.

    Per unit, positive and negative entries apart. Entries of equal magnitude at the threshold are
    dropped from the end, so the count is exact; since ``drop < 1``, a sign that occurs keeps at
    least one entry, and one that does not occur keeps none.

    Examples:
        >>> task = bank.add("half", "cats.safetensors", tvbank.TSwitch(drop=0.5))
        >>> 512 <= len(task["encoder.weight"].to_sparse()[0]) <= 514  # of 1,024, half of each sign
        True

    Attributes:
        drop: share of entries to drop, alpha in the paper, 0 <= drop < 1; taken as the decimal
            number it is written as.
        knob: the magnitude all kept entries get: ``"rms"``, the root mean square of what was kept
            (beta in [F] Eq. 4), or ``"norm"``, ‖tau‖₂/√kept, which restores the norm of the whole
            unit's task vector and does better at high drops.
    """

    drop: float = 0.9
    knob: Literal["rms", "norm"] = "rms"

    element: ClassVar[Literal["float32", "int32"]] = "float32"

    def __post_init__(self) -> None:
        if not 0 <= self.drop < 1:  # also refuses NaN
            raise UsageError(f"drop must be at least 0 and less than 1, got {self.drop!r}")
        if self.knob not in ("rms", "norm"):
            raise UsageError(f"knob must be 'rms' or 'norm', got {self.knob!r}")

    def describe(self) -> dict[str, Any]:
        """See ``Compressor.describe``."""
        return {"name": "tswitch", "drop": float(self.drop), "knob": self.knob}

    def accepts(self, base: TensorSpec, tuned: TensorSpec) -> bool:
        """See ``Compressor.accepts``."""
        return is_float(tuned.dtype)

    def prepare(
        self, unit: str, base: NDArray[Any], tuned: NDArray[Any], each: Each = map
    ) -> Entries:
        """See ``Compressor.prepare``: 0 or ±beta."""
        delta = Difference(unit, base, tuned)
        chosen = select(delta, Fraction(repr(float(self.drop))), each)
        squares = chosen.kept_squares if self.knob == "rms" else chosen.all_squares
        magnitude = math.sqrt(squares / chosen.kept) if chosen.kept else 0.0
        beta = np.float32(min(magnitude, _LARGEST))

        def entries(start: int, stop: int) -> NDArray[np.float32]:
            block = delta.block(start, stop)
            polarise(block, start, chosen, beta)
            return block

        return entries
