"""Products: units whose entries are a scaled product of two thin matrices, as an adapter has them.

``Product`` is one of them in memory, ``Products`` those of a task, read unit by unit: one range
request each. What is read of them as frames is made from the factors, chunk by chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn, final

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.allocating import working_bytes, zeros
from tvbank.bank.documents import ObjectRecord, Revision
from tvbank.bank.frames import StoredFrame
from tvbank.bank.product_records import (
    CHECKSUM,
    FEATURE,
    PACKED,
    PACKED_FEATURE,
    PRODUCTS,
    PRODUCTS_CHUNK,
    ProductRecord,
    check_products,
    product_places,
    products_bytes,
)
from tvbank.bank.shard import crc32c
from tvbank.bank.snapshot import missing, read_stored
from tvbank.bank.zarr_documents import products_document
from tvbank.dtypes import DTYPES
from tvbank.errors import CorruptionError, FormatError
from tvbank.layout import Layout, UnitRecord
from tvbank.storage import ObjectNotFoundError, Storage

#: Entries that are made at a time where only some are kept.
_BLOCK = 2**18


@final
@dataclass(frozen=True, eq=False)
class Product:
    """The entries of one unit: ``scale * (b @ a)``, or the transpose of it.

    Attributes:
        unit: its name.
        shape: of the unit.
        b: [rows, rank], in the element type of the adapter; of packed factors float32.
        a: [rank, columns], likewise.
        scale: that the product is multiplied by.
        transposed: whether the unit is the transpose.
        packed: both factors as a bank holds them, where these are packed.
        most: the rank that packed factors have at most: that of the adapter that they came from.
    """

    unit: str
    shape: tuple[int, ...]
    b: NDArray[Any]
    a: NDArray[Any]
    scale: float
    transposed: bool = False
    packed: bytes | None = None
    most: int | None = None

    @staticmethod
    def of_packed(unit: UnitRecord, record: ProductRecord, packed: bytes) -> Product:
        """Unpack the factors of a product.

        Raises:
            ValueError: they are not what they should be.
        """
        from tvbank.coding.packed import unpack_factors  # numba: only when something is read

        (rows, _), (_, columns) = record.shapes(unit.shape)
        b, a = unpack_factors(packed, rows, columns, record.rank)
        return Product(
            unit.name, unit.shape, b, a, record.scale, record.transposed, packed, record.rank
        )

    @property
    def rank(self) -> int:
        """Columns of ``b`` and rows of ``a``."""
        return int(self.b.shape[1])

    @property
    def record(self) -> ProductRecord:
        """What a revision says of it."""
        described: dict[str, Any] = {"dtype": self.b.dtype.name, "rank": self.rank}
        if self.packed is not None:
            stored = len(self.packed) + CHECKSUM
            described = {"dtype": PACKED, "rank": self.most or self.rank, "bytes": stored}
        return ProductRecord(
            unit=self.unit, scale=self.scale, transposed=self.transposed, **described
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the factors."""
        return self.b.nbytes + self.a.nbytes

    @property
    def size(self) -> int:
        """Number of the unit's entries."""
        return int(self.b.shape[0] * self.a.shape[1])

    def entries(self, first: int, stop: int) -> NDArray[np.float32]:
        """Entries ``first`` to ``stop`` of the flattened unit; on any thread.

        Bit for bit what the spec says (spec/products.md, "The entries").
        """
        from tvbank.coding.product import product_entries  # numba: only when something is read

        left, right = self._factors
        return product_entries(left, right, np.float32(self.scale), first, stop)

    def to_dense(self) -> NDArray[np.float32]:
        """All entries in the unit's shape.

        Raises:
            TooLargeError: there is not enough memory.
        """
        what, remedy = f"unit {self.unit!r}, dense,", "Task.products has its factors"
        float32 = np.dtype(np.float32)
        dense = zeros(self.size, float32, what, remedy, working_bytes(_BLOCK, self.size, threads=1))
        for first in range(0, self.size, _BLOCK):
            stop = min(first + _BLOCK, self.size)
            dense[first:stop] = self.entries(first, stop)
        return dense.reshape(self.shape)

    def to_sparse(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Positions and values of the entries that are not zero: mostly all of them."""
        dense = self.to_dense().reshape(-1)
        positions = np.flatnonzero(dense)
        return positions, dense[positions]

    def is_finite(self) -> bool:
        """Whether no entry is NaN or infinite."""
        largest = [float(np.abs(factor).max(initial=0)) for factor in self._factors]
        bound = 2 * self.rank * largest[0] * largest[1] * max(1.0, abs(self.scale))
        if bound < float(np.finfo(np.float32).max):
            return True
        parts = (self.entries(n, min(n + _BLOCK, self.size)) for n in range(0, self.size, _BLOCK))
        return all(bool(np.isfinite(part).all()) for part in parts)

    def to_bytes(self) -> bytes:
        """The factors and their checksum, as a bank holds them."""
        data = self.packed
        if data is None:
            data = b"".join(np.ascontiguousarray(factor).tobytes() for factor in (self.b, self.a))
        return data + crc32c(data)

    @property
    def content(self) -> tuple[object, ...]:
        """All that its entries depend on; equal for products that are."""
        return self.b.dtype, self.rank, self.scale, self.transposed, self.to_bytes()

    @cached_property
    def _factors(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """[rows, rank] and [rank, columns] of the unit itself, in float32."""
        left, right = (self.a.T, self.b.T) if self.transposed else (self.b, self.a)
        return (
            np.ascontiguousarray(left.astype(np.float32)),
            np.ascontiguousarray(right.astype(np.float32)),
        )


def check_revision(layout: Layout, revision: Revision) -> None:
    """Check what a revision says of its products against the layout and its own objects.

    Raises:
        FormatError: ``layout``.
    """
    if not revision.products:
        if PRODUCTS in revision.objects or PRODUCTS_CHUNK in revision.objects:
            raise FormatError("layout", "it lists objects of products, and no product")
        return
    if FEATURE not in revision.features or revision.element != "float32":
        raise FormatError("layout", f"it has products, yet not the feature {FEATURE!r} or float32")
    if any(each.dtype == PACKED for each in revision.products) and (
        PACKED_FEATURE not in revision.features
    ):
        raise FormatError("layout", f"packed products, yet not the feature {PACKED_FEATURE!r}")
    check_products(layout, revision.products)
    replaced = {extra.name for extra in revision.extras}
    for product in revision.products:
        if product.unit in replaced:
            raise FormatError("layout", f"a product of {product.unit!r}, which is kept whole")
    stored = revision.objects.get(PRODUCTS_CHUNK)
    if stored is None or PRODUCTS not in revision.objects:
        raise FormatError("layout", "it has products, and does not list their objects")
    if stored.size != products_bytes(layout, revision.products):
        raise FormatError(
            "layout", f"{PRODUCTS_CHUNK} has {stored.size} bytes, its products others"
        )


def products_documents(revision: Revision) -> dict[str, bytes]:
    """The zarr document of a revision's products, by key; none where there are none."""
    stored = revision.objects.get(PRODUCTS_CHUNK) if revision.products else None
    return {} if stored is None else {PRODUCTS: products_document(stored.size)}


@final
class Products(Mapping[str, Product]):
    """The products of one task by unit, in the order of the base; read at access.

    With ``by_shard`` the object is read whole, once, and its digest checked; otherwise a range of
    it for each product.
    """

    def __init__(
        self, storage: Storage, layout: Layout, task: str, folder: str, revision: Revision,
        *, by_shard: bool = False,
    ) -> None:  # fmt: skip
        self._storage, self._task, self._by_shard = storage, task, by_shard
        self.key = f"{folder}/{PRODUCTS_CHUNK}"
        self._stored: ObjectRecord | None = revision.objects.get(PRODUCTS_CHUNK)
        self._places = {
            unit.name: (unit, product, start, stop)
            for unit, product, start, stop in product_places(layout, revision.products)
        }
        self._layout = layout

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, unit: object) -> bool:
        return unit in self._places

    def record(self, unit: str) -> ProductRecord:
        """What is known of a product without reading it."""
        return self._places[unit][1]

    def stored_bytes(self, unit: str) -> int:
        """Bytes of a product in the bank, its checksum included."""
        _, _, start, stop = self._places[unit]
        return stop - start

    def __getitem__(self, unit: str) -> Product:
        record, product, start, stop = self._places[unit]
        data = self._whole[start:stop] if self._by_shard else self._read(start, stop)
        if len(data) != stop - start:
            self._corrupt("object-size", "the object ends before that", unit)
        if crc32c(data[:-CHECKSUM]) != data[-CHECKSUM:]:
            self._corrupt("product-checksum", "a product does not have its checksum", unit)
        if product.dtype == PACKED:
            try:
                return Product.of_packed(record, product, data[:-CHECKSUM])
            except ValueError as error:
                self._corrupt("product", f"its packed factors: {error}", unit)
        dtype = DTYPES[product.dtype]
        shape_of_b, shape_of_a = product.shapes(record.shape)
        numbers = np.frombuffer(data[:-CHECKSUM], np.uint8).view(dtype)
        count = shape_of_b[0] * shape_of_b[1]
        b, a = numbers[:count].reshape(shape_of_b), numbers[count:].reshape(shape_of_a)
        if not (np.isfinite(b).all() and np.isfinite(a).all()):
            self._corrupt("product", "a factor has a number that is NaN or infinite", unit)
        return Product(unit, record.shape, b, a, product.scale, product.transposed)

    def frames(self, unit: str) -> Iterator[StoredFrame]:
        """The entries of a unit as frames, made from the factors; chunks of zeros have none.

        They hold every entry as a float32, and are made while they are asked for.
        """
        from tvbank.coding import encode_frame

        product, start = self[unit], self._places[unit][2]
        record, length = self._layout.by_name[unit], self._layout.chunk_length
        for first in range(0, record.size, length):
            values = product.entries(first, min(first + length, record.size))
            if len(values) < length:
                values = np.concatenate([values, np.zeros(length - len(values), np.float32)])
            if count := int(np.count_nonzero(values)):
                mask = "full" if count == length else "bitmap"
                frame = encode_frame(values, mask=mask, values="raw")
                yield StoredFrame(record, first, frame, self.key, start)

    @cached_property
    def _whole(self) -> bytes:
        if self._stored is None:
            return b""
        return read_stored(self._storage, self.key, self._stored, self._task)

    def _read(self, start: int, stop: int) -> bytes:
        try:
            (data,) = self._storage.get_ranges(self.key, [(start, stop)])
        except ObjectNotFoundError as error:
            raise missing(self.key, self._task) from error
        return data

    def _corrupt(self, reason: str, what: str, unit: str) -> NoReturn:
        _, _, start, stop = self._places[unit]
        raise CorruptionError(
            reason,
            f"task {self._task!r}, unit {unit!r}: {self.key}, bytes {start} to {stop}: {what}",
            key=self.key, task=self._task, unit=unit, start=start, stop=stop,
        )  # fmt: skip


def encode_products(
    layout: Layout, products: Sequence[Product]
) -> tuple[tuple[ProductRecord, ...], bytes]:
    """Records and bytes of products, in the order of the layout."""
    by_unit = {product.unit: product for product in products}
    ordered = [by_unit[unit.name] for unit in layout.units if unit.name in by_unit]
    records = tuple(product.record for product in ordered)
    return records, b"".join(product.to_bytes() for product in ordered)
