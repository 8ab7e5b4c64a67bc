"""What was chosen for every unit of one task, by a compressor that had to see all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

from numpy.typing import NDArray

from tvbank.checkpoint import TensorSpec
from tvbank.compress._compressor import Compressor, Entries
from tvbank.compress._difference import Difference, is_float
from tvbank.compress._each import Each

#: Makes a unit's entries of its difference.
Choice = Callable[[Difference], Entries]


@final
@dataclass(frozen=True, eq=False)
class Planned(Compressor):
    """A compressor after its ``plan``.

    Attributes:
        described: its name and settings.
        choices: by name of the unit.
        rest: compresses the other units; None if there are none.
    """

    described: Mapping[str, Any]
    choices: Mapping[str, Choice]
    rest: Compressor | None = None

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
        if self.rest is not None and unit not in self.choices:
            return self.rest.prepare(unit, base, tuned, each)
        return self.choices[unit](Difference(unit, base, tuned))
