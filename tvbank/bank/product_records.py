"""What a revision says of its products, and where their factors lie (spec/products.md)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta

from tvbank.compress.protocol import PackedProduct
from tvbank.dtypes import DTYPES, UNIT_DTYPES
from tvbank.errors import FormatError
from tvbank.layout import Layout, UnitName, UnitRecord

#: The feature that a task with products needs; and the one if factors of some are packed.
FEATURE, PACKED_FEATURE = "products", "packed-products"

#: In the place of an element type: both factors are levels in steps (spec/products.md).
PACKED: Literal["packed"] = "packed"
FactorDtype = Annotated[str, Meta(pattern=rf"^({'|'.join([*UNIT_DTYPES, PACKED])})\Z")]
#: The highest rank of packed factors.
_PACKED_RANK = 2**16 - 1

#: Keys of the objects with a revision's products, relative to its folder.
PRODUCTS, PRODUCTS_CHUNK = "products/zarr.json", "products/c/0"

#: Bytes of the checksum after the factors of a product.
CHECKSUM = 4


class ProductRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One product: which unit it is of, and the form of its factors B and A.

    Attributes:
        unit: whose entries it gives.
        dtype: of the factors; or that they are packed.
        rank: columns of B and rows of A; of packed factors at most so many.
        scale: that B·A is multiplied by, once it is a binary32.
        transposed: whether the unit is the transpose of B·A.
        bytes: of packed factors, their checksum included; of others ``None``.
    """

    unit: UnitName
    dtype: FactorDtype
    rank: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    scale: float
    transposed: bool = False
    bytes: Annotated[int, Meta(ge=6, le=2**53)] | None = None

    def shapes(self, shape: Sequence[int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """The shapes of B and A, for a unit of some shape, which is a matrix by its first side."""
        rows = shape[0] if shape else 1
        columns = math.prod(shape[1:])
        if self.transposed:
            rows, columns = columns, rows
        return (rows, self.rank), (self.rank, columns)

    def nbytes(self, shape: Sequence[int]) -> int:
        """Bytes of both factors in the bank, and of their checksum."""
        if self.bytes is not None:
            return self.bytes
        entries = sum(math.prod(factor) for factor in self.shapes(shape))
        return entries * DTYPES[self.dtype].itemsize + CHECKSUM


def packed_record(unit: str, product: PackedProduct) -> ProductRecord:
    """What a revision says of a unit's packed product whose factors are not to be multiplied."""
    size = len(product.data) + CHECKSUM
    return ProductRecord(unit=unit, dtype=PACKED, rank=product.rank, scale=1.0, bytes=size)


def record_bytes(record: ProductRecord) -> int:
    """Bytes of a record in its revision's document, the comma after it included."""
    return len(msgspec.json.encode(record)) + 1


def check_products(layout: Layout, products: Sequence[ProductRecord]) -> None:
    """Check that products are of units of a layout, in their order.

    Raises:
        FormatError: ``layout``; names the unit.
    """
    numbers = {unit.name: number for number, unit in enumerate(layout.units)}
    last = -1
    for product in products:
        number = numbers.get(product.unit)
        unit = None if number is None else layout.units[number]
        if number is None or unit is None or not unit.size:
            raise FormatError("layout", f"a product of {product.unit!r}, no unit with entries")
        if number <= last:
            raise FormatError("layout", f"the product of {product.unit!r} is out of order")
        if product.transposed and len(unit.shape) != 2:
            raise FormatError("layout", f"the product of {product.unit!r} is no matrix transposed")
        with np.errstate(over="ignore"):
            if not np.isfinite(np.float32(product.scale)):
                raise FormatError("layout", f"the scale of {product.unit!r} is beyond binary32")
        packed = product.dtype == PACKED
        if packed != (product.bytes is not None) or (packed and product.rank > _PACKED_RANK):
            raise FormatError(
                "layout",
                f"the product of {product.unit!r} is packed and does not say its bytes, or the "
                f"other way round, or its rank is beyond {_PACKED_RANK}",
            )
        last = number


def product_places(
    layout: Layout, products: Sequence[ProductRecord]
) -> Iterator[tuple[UnitRecord, ProductRecord, int, int]]:
    """Of each product its unit, its record, and where in the object it begins and ends."""
    end = 0
    for product in products:
        unit, start = layout.by_name[product.unit], end
        end += product.nbytes(unit.shape)
        yield unit, product, start, end


def products_bytes(layout: Layout, products: Sequence[ProductRecord]) -> int:
    """Bytes of the object with all factors."""
    return sum(stop - start for _, _, start, stop in product_places(layout, products))
