"""What was chosen for every unit of one task, to be drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

from numpy.typing import NDArray

from tvbank.checkpoint import TensorSpec
from tvbank.compress._candidates import Kept, entries_of
from tvbank.compress._compressor import Compressor, Entries
from tvbank.compress._difference import Difference, is_float
from tvbank.compress._each import Each


@final
@dataclass(frozen=True, eq=False)
class Planned(Compressor):
    """What a compressor that chooses over all units came to.

    Attributes:
        described: its name and settings.
        kept: of every unit, by name.
    """

    described: Mapping[str, Any]
    kept: Mapping[str, Kept]

    element: ClassVar[Literal["float32", "int32"]] = "float32"

    def describe(self) -> dict[str, Any]:
        """See ``Compressor.describe``."""
        return dict(self.described)

    def accepts(self, base: TensorSpec, tuned: TensorSpec) -> bool:
        """See ``Compressor.accepts``."""
        return is_float(tuned.dtype)

    def prepare(
        self, unit: str, base: NDArray[Any], tuned: NDArray[Any], each: Each = map
    ) -> Entries:
        """See ``Compressor.prepare``."""
        return entries_of(Difference(unit, base, tuned), self.kept[unit])
