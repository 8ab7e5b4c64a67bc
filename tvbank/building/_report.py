"""How a build ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final


@final
@dataclass(frozen=True)
class BuildReport:
    """How a build ended.

    Attributes:
        location: of the bank.
        built: names of the tasks that were published, in the manifest's order.
        present: names of those that were there already, with the same content.
        failed: why each of the others is not there.
        units: units, and tensors kept whole, that were encoded.
        resumed: those that an earlier, interrupted build had encoded.
        seconds: it took.
    """

    location: str
    built: tuple[str, ...]
    present: tuple[str, ...]
    failed: dict[str, str] = field(default_factory=dict)
    units: int = 0
    resumed: int = 0
    seconds: float = 0.0
