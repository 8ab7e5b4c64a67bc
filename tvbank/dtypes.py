"""The element types of checkpoints, bfloat16 and float8 included: one table, and views of it.

To support another type, add a row. If its tensors are to have deltas, the frames' kinds
(``tvbank.coding.decoding.elements``) need it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import ml_dtypes
import numpy as np


@final
@dataclass(frozen=True)
class ElementType:
    """One element type that a bank can hold.

    Attributes:
        name: as numpy, ``ml_dtypes``, torch and the format call it.
        code: as safetensors files call it.
        is_unit: whether tensors of this type have deltas and exact steps, and so live in the
            layout's address space; others are kept whole.
    """

    name: str
    code: str
    is_unit: bool = False

    @property
    def of_numpy(self) -> bool:
        """Whether numpy has the type by itself, not through ``ml_dtypes``."""
        return not hasattr(ml_dtypes, self.name)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The little-endian numpy type."""
        dtype: np.dtype[Any] = np.dtype(getattr(np if self.of_numpy else ml_dtypes, self.name))
        return dtype.newbyteorder("<") if self.of_numpy else dtype

    @property
    def is_float(self) -> bool:
        """Whether a lossy compressor can subtract it in float32; complex numbers do not count."""
        return "float" in self.name

    @property
    def is_integer(self) -> bool:
        """Whether it holds integers or truth values: counts, masks, quantised weights."""
        return self.name == "bool" or "int" in self.name

    @property
    def bits(self) -> np.dtype[Any]:
        """What stands for the type in libraries that lack it: an integer type of its width."""
        return self.dtype if self.of_numpy else np.dtype(f"<u{self.dtype.itemsize}")


#: Every element type that a bank can hold, by name.
ELEMENT_TYPES = {
    row.name: row
    for row in (
        ElementType("bool", "BOOL"),
        ElementType("int8", "I8"),
        ElementType("int16", "I16"),
        ElementType("int32", "I32"),
        ElementType("int64", "I64"),
        ElementType("uint8", "U8"),
        ElementType("uint16", "U16"),
        ElementType("uint32", "U32"),
        ElementType("uint64", "U64"),
        ElementType("float32", "F32", is_unit=True),
        ElementType("float16", "F16", is_unit=True),
        ElementType("bfloat16", "BF16", is_unit=True),
        ElementType("float64", "F64"),
        ElementType("complex64", "C64"),
        ElementType("float8_e4m3fn", "F8_E4M3"),
        ElementType("float8_e5m2", "F8_E5M2"),
    )
}

#: Their numpy types.
DTYPES: dict[str, np.dtype[Any]] = {name: row.dtype for name, row in ELEMENT_TYPES.items()}

#: Those whose tensors have deltas.
UNIT_DTYPES = tuple(name for name, row in ELEMENT_TYPES.items() if row.is_unit)

#: The others.
WHOLE_DTYPES = tuple(name for name, row in ELEMENT_TYPES.items() if not row.is_unit)
