"""Products: units whose entries are B·A times a scale (products.md)."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import NamedTuple

from .crc32c import split_checksum
from .invalid import Invalid, require
from .json_text import Object
from .layout import DTYPE_BYTES, Layout, Tensor, require_layout
from .levels import read_levels
from .shards import Entries
from .values import float32_pattern
from .weights import number_of

FEATURE, PACKED_FEATURE = "products", "packed-products"
DOCUMENT = "products/zarr.json"
CHUNK = "products/c/0"
MAX_RANK = 2**31 - 1
PACKED, MAX_PACKED_RANK = "packed", 2**16 - 1

_CODES = {"float32": "I", "float16": "H", "bfloat16": "H"}


class ProductRecord(NamedTuple):
    """What a revision says of one product."""

    unit: str
    dtype: str
    rank: int
    scale: float
    transposed: bool
    bytes: int | None = None


def product_record(body: Object) -> ProductRecord:
    """One of the array ``products`` of a revision document."""
    transposed = body.value.get("transposed", False)
    require(type(transposed) is bool, "document-syntax", f"{body.where}.transposed is no boolean")
    return ProductRecord(
        body.text("unit"),
        body.text("dtype", "|".join([*_CODES, PACKED])),
        body.integer("rank", 1, MAX_RANK),
        body.number("scale"),
        transposed,
        None if body.value.get("bytes") is None else body.integer("bytes", 6, 2**53),
    )


def check_products(
    layout: Layout,
    products: list[ProductRecord],
    objects: dict[str, int],
    replaced: set[str],
    features: list[str],
) -> None:
    """Compare what a revision says with the layout, its features and the sizes of its objects."""
    numbers = {name: number for number, name in enumerate(layout.units)}
    last = -1
    for product in products:
        require_layout(
            product.unit in layout.units
            and layout.units[product.unit].size > 0
            and product.unit not in replaced
            and numbers[product.unit] > last,
            f"a product of {product.unit!r}, no unit of its own with entries, or out of order",
        )
        last = numbers[product.unit]
        matrix = len(layout.units[product.unit].shape) == 2
        require_layout(matrix or not product.transposed, f"{product.unit!r} is no matrix")
        scale = float32_pattern(product.scale) & 0x7FFFFFFF
        require_layout(scale < 0x7F800000, f"the scale of {product.unit!r} is beyond binary32")
        packed = product.dtype == PACKED
        require_layout(packed == (product.bytes is not None), f"bytes of {product.unit!r}")
        allowed = PACKED_FEATURE in features and product.rank <= MAX_PACKED_RANK
        require_layout(allowed or not packed, f"{product.unit!r} is packed")
    listed = {key: objects.get(key) for key in (DOCUMENT, CHUNK)}
    if not products:
        require_layout(set(listed.values()) == {None}, "objects of products, and no product")
        return
    size = sum(len(place) for _, place in product_places(layout, products))
    fits = listed[DOCUMENT] is not None and listed[CHUNK] == size
    require_layout(fits, f"the products take {size} bytes, and their objects are {listed}")


def product_places(
    layout: Layout, products: list[ProductRecord]
) -> Iterator[tuple[ProductRecord, range]]:
    """Where in their object the factors and the checksum of each product lie."""
    end = 0
    for product in products:
        start = end
        rows, columns = sides(layout.units[product.unit])
        if product.bytes is not None:
            end += product.bytes
        else:
            end += (rows + columns) * product.rank * DTYPE_BYTES[product.dtype] + 4
        yield product, range(start, end)


def sides(unit: Tensor) -> tuple[int, int]:
    """Rows and columns of a unit: its first side, and all others multiplied."""
    rows = unit.shape[0] if unit.shape else 1
    return rows, math.prod(unit.shape[1:])


def product_entries(unit: Tensor, product: ProductRecord, data: bytes) -> Entries:
    """The non-zeros of a unit, from the bytes of its product.

    Raises:
        Invalid: ``product-checksum`` or ``product``.
    """
    body, intact = split_checksum(data)
    require(intact, "product-checksum", f"the product of {unit.name!r} has another checksum")
    rows, columns = sides(unit)
    high, wide = (columns, rows) if product.transposed else (rows, columns)
    if product.dtype == PACKED:
        rank, b, a = _unpacked(unit, product, body, high, wide)
    else:
        rank = product.rank
        code = _CODES[product.dtype]
        patterns = struct.unpack(f"<{len(body) // struct.calcsize(code)}{code}", body)
        numbers = [number_of(pattern, product.dtype) for pattern in patterns]
        _refuse_infinite(unit, numbers)
        b, a = numbers[: high * rank], numbers[high * rank :]
    scale = _round(product.scale)
    found = Entries([], [])
    for row in range(rows):
        for column in range(columns):
            i, j = (column, row) if product.transposed else (row, column)
            total = 0.0
            for k in range(rank):
                total = _round(total + _round(b[i * rank + k] * a[k * wide + j]))
            entry = _round(total * scale)
            if entry != 0:
                found.positions.append(row * columns + column)
                found.patterns.append(float32_pattern(entry))
    return found


def _unpacked(
    unit: Tensor, product: ProductRecord, body: bytes, high: int, wide: int
) -> tuple[int, list[float], list[float]]:
    """How many components there are, and B and A in C order."""
    count = int.from_bytes(body[:2], "little")
    fits = count <= min(product.rank, high, wide) and len(body) >= 2 + 2 * count
    require(fits, "product", f"{unit.name!r} has {count} components")
    patterns = struct.unpack(f"<{count}H", body[2 : 2 + 2 * count])
    steps = [number_of(pattern, "bfloat16") for pattern in patterns]
    levels = read_levels(body[2 + 2 * count :], high, wide, count)
    require(levels is not None, "product", f"bytes follow the levels of {unit.name!r}")
    _refuse_infinite(unit, steps)
    listed = levels or []
    b = [float(each[i]) for i in range(high) for each in listed]
    a = [
        _round(each[high + j] * s)
        for each, s in zip(listed, steps, strict=True)
        for j in range(wide)
    ]
    _refuse_infinite(unit, a)
    return count, b, a


def _refuse_infinite(unit: Tensor, numbers: list[float]) -> None:
    if not all(map(math.isfinite, numbers)):
        raise Invalid("product", f"a factor of {unit.name!r} has a number that is not finite")


def _round(number: float) -> float:
    """To the nearest binary32, ties to even."""
    return number_of(float32_pattern(number), "float32")
