"""An adapter becomes a task of products: nothing of the base is read.

As its file has them, without loss; or, under a size, with packed factors if these do not fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tvbank._progress import Counter
from tvbank.adapters import Bound, LowRank
from tvbank.bank.documents import JSON, ExtraRecord
from tvbank.bank.extras import encode_extra
from tvbank.bank.fitting import fit_products
from tvbank.bank.names import check_metadata
from tvbank.bank.product_records import ProductRecord
from tvbank.bank.products import Product
from tvbank.bank.writer import Prepared, RevisionWriter, Spool
from tvbank.bank.zarr_documents import MAX_CHUNK_BYTES, chunk_bytes
from tvbank.checkpoint import TensorSpec
from tvbank.compress import Budget
from tvbank.compress.protocol import Each
from tvbank.errors import CheckpointError, NonFiniteError
from tvbank.layout import Layout, check_storable


def prepare_products(
    layout: Layout,
    bound: Bound,
    spool: Spool,
    metadata: JSON,
    counter: Counter,
    budget: Budget | None = None,
    each: Each = map,
) -> Prepared:
    """Lay the objects of a task of products into a spool.

    Args:
        layout: of the bank.
        bound: an adapter all of whose changes are products, or kept whole.
        spool: receives the objects.
        metadata: the user's own, checked.
        counter: of the bytes of the adapter.
        budget: what the task may take; without one, the factors stay as they are.
        each: spreads the work of packing them.

    Raises:
        UsageError: the size is less than what a task takes that keeps nothing.
        NonFiniteError: an entry would be NaN or infinite; names the unit.
        CheckpointError: a tensor to keep whole has a name or a shape that is not allowed, or the
            configuration is none that can be kept.
    """
    adapter = bound.adapter
    writer = RevisionWriter(layout, "float32", spool)
    for name, tensor in bound.whole.items():
        spec = adapter.spec(tensor)
        check_storable(adapter.source, TensorSpec(name, spec.dtype, spec.shape))
        record = ExtraRecord(name, spec.dtype, spec.shape)
        if chunk_bytes(record) > MAX_CHUNK_BYTES:
            raise CheckpointError(f"{adapter.source}: {name!r} has rows of 2 GiB or more")
        writer.keep_whole(record, encode_extra(record, adapter.read(tensor)))
        counter.advance(spec.nbytes)
    products = [_product(adapter.source, each) for each in bound.products or ()]
    described = check_metadata(_described(bound))
    counter.advance(sum(product.nbytes for product in products))
    covered = sum(unit.size for unit in layout.units if unit.name not in bound.whole)
    compressor: JSON = {"name": "adapter", "kind": "lora"}
    if budget is not None:
        compressor = budget.describe()

        def taken(records: Sequence[ProductRecord]) -> int:
            return writer.bytes_with(records, described, compressor, metadata)

        left = budget.bytes_beside(
            writer.parameters(covered), layout.unit_bytes, taken(()),
            f"the {len(bound.whole)} tensors that are kept whole", adapter.nbytes,
        )  # fmt: skip
        products = fit_products(layout, products, taken, taken(()) + left, each)
    if products:
        writer.keep_products(products, described)
    return writer.finish([], covered, compressor, metadata)


def _product(source: str, added: LowRank) -> Product:
    unit = added.unit
    product = Product(unit.name, unit.shape, added.b, added.a, added.scale, added.transposed)
    if not np.isfinite(np.float64(added.scale)) or not product.is_finite():
        raise NonFiniteError(
            f"{source}: what it adds to {unit.name!r} is too large for float32: its training "
            "failed, or its alpha is not the one that it was trained with"
        )
    return product


def _described(bound: Bound) -> dict[str, Any]:
    """What is needed to write the adapter out again, beside its products and extras."""
    adapter, prefix = bound.adapter, "base_model.model."
    modules, embeddings = {}, []
    parts_of = sorted({each.module for each in bound.products or () if each.is_part})
    for each in bound.products or ():
        parts = adapter.modules[each.module]
        if each.unit.name.rpartition(".")[0] != each.module:
            modules[each.unit.name] = each.module
        if "lora_embedding_A" in parts:
            embeddings.append(each.unit.name)
    whole = {name: t for name, t in bound.whole.items() if t != prefix + name}
    described: dict[str, Any] = {"kind": adapter.style}
    if adapter.style == "peft":
        described["config"] = dict(adapter.config.body)
    kept: dict[str, Any] = {
        "modules": modules, "embeddings": embeddings, "whole": whole, "parts_of": parts_of,
    }  # fmt: skip
    return described | {name: value for name, value in kept.items() if value}
