"""What lossy compressors share: a unit's difference in float32, and a choice for every unit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, final

import numpy as np
from numpy.typing import NDArray

from tvbank.checkpoint import TensorSpec
from tvbank.compress.protocol import Compressor, Each, Entries, PackedProduct
from tvbank.dtypes import ELEMENT_TYPES
from tvbank.errors import NonFiniteError

#: Entries of one range. Sums are rounded once a range: another length would be other last bits.
RANGE: Final = 2**22
#: Entries that are subtracted at once: what fits into a core's cache.
BLOCK: Final = 2**16


def is_float(dtype: str) -> bool:
    """Whether a lossy compressor can subtract an element type."""
    return ELEMENT_TYPES[dtype].is_float


@final
class Difference:
    """``tuned - base`` of one unit, subtracted block by block whenever a block is asked for.

    Subtracting again costs less than keeping: of a unit of any size, only blocks exist.

    Attributes:
        unit: its name.
        size: number of entries.
    """

    def __init__(self, unit: str, base: NDArray[Any], tuned: NDArray[Any]) -> None:
        self.unit = unit
        self._base, self._tuned = base.reshape(-1), tuned.reshape(-1)
        self.size = self._base.size

    def block(self, start: int, stop: int) -> NDArray[np.float32]:
        """Entries ``start`` to ``stop``, float32; those with equal values are 0, infinite or not.

        Raises:
            NonFiniteError: for NaN or infinity in what changed, or a difference beyond float32.
        """
        old = self._base[start:stop].astype(np.float32, copy=False)
        with np.errstate(over="ignore", invalid="ignore"):
            new = self._tuned[start:stop].astype(np.float32, copy=False)
            delta = new - old
        finite = np.isfinite(delta)
        if not finite.all():
            same = (new == old) | (np.isnan(new) & np.isnan(old))
            delta[same] = 0
            if not (finite | same).all():
                first = start + int(np.argmin(finite | same))
                raise NonFiniteError(
                    f"unit {self.unit!r} has entries that are NaN or infinite, or whose "
                    f"difference is (the first at {first}); a lossy compressor cannot take them: "
                    "use Exact (--method exact) or repair the checkpoint"
                )
        return delta

    def ranges(self) -> list[tuple[int, int]]:
        """First entry and end of every range of the unit, to be spread over cores."""
        return [(at, min(at + RANGE, self.size)) for at in range(0, self.size, RANGE)]

    def blocks(self, part: tuple[int, int]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """First entry and entries of every block of a range."""
        for first in range(*part, BLOCK):
            yield first, self.block(first, min(first + BLOCK, part[1]))


#: Makes a unit's entries of its difference.
Choice = Callable[[Difference], Entries]


@final
@dataclass(frozen=True, eq=False)
class Planned(Compressor):
    """A compressor after its ``plan``.

    Attributes:
        described: its name and settings.
        choices: by name of the unit.
        kept_products: of units that are kept as products; their choices keep nothing.
        rest: compresses the other units; None if there are none.
    """

    described: Mapping[str, Any]
    choices: Mapping[str, Choice]
    rest: Compressor | None = None
    kept_products: Mapping[str, PackedProduct] = field(default_factory=dict)

    element: ClassVar[Literal["float32", "int32"]] = "float32"

    def describe(self) -> dict[str, Any]:
        """See ``Compressor.describe``."""
        return dict(self.described)

    def accepts(self, base: TensorSpec, tuned: TensorSpec) -> bool:
        """See ``Compressor.accepts``."""
        return is_float(tuned.dtype)

    @property
    def packed_products(self) -> Mapping[str, PackedProduct]:
        """See ``Compressor.packed_products``."""
        return self.kept_products

    def prepare(
        self, unit: str, base: NDArray[Any], tuned: NDArray[Any], each: Each = map
    ) -> Entries:
        """See ``Compressor.prepare``."""
        if self.rest is not None and unit not in self.choices:
            return self.rest.prepare(unit, base, tuned, each)
        return self.choices[unit](Difference(unit, base, tuned))
