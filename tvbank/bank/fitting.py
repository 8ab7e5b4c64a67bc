"""Products that must fit a size: as they are if they do, else with packed factors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from tvbank.bank.product_records import CHECKSUM, PACKED, ProductRecord
from tvbank.bank.products import Product
from tvbank.compress.budget.factors import Components, share_bytes
from tvbank.compress.protocol import Each
from tvbank.layout import Layout


def fit_products(
    layout: Layout,
    products: Sequence[Product],
    taken: Callable[[Sequence[ProductRecord]], int],
    size: int,
    each: Each,
) -> list[Product]:
    """The products of an adapter, as near to it in the sum of squares as a size allows.

    Args:
        layout: of the bank.
        products: as the adapter has them.
        taken: the bytes of the whole task, if it has such products.
        size: of the whole task, at least what it takes without products.
        each: spreads the work.

    Returns:
        Those of which something is left.
    """
    if taken([product.record for product in products]) <= size:
        return list(products)

    def records(packed: Sequence[bytes | None]) -> list[ProductRecord]:
        return [
            _record(product, data)
            for product, data in zip(products, packed, strict=True)
            if data is not None
        ]

    components = list(each(_components, products))
    packed = share_bytes(components, lambda tried: taken(records(tried)), size, each)
    kept = [data for data in packed if data is not None]
    return [
        Product.of_packed(layout.by_name[record.unit], record, data)
        for record, data in zip(records(packed), kept, strict=True)
    ]


def _components(product: Product) -> Components:
    return Components.of(product.b, product.a, product.scale)


def _record(product: Product, packed: bytes) -> ProductRecord:
    return msgspec.structs.replace(product.record, dtype=PACKED, bytes=len(packed) + CHECKSUM)
