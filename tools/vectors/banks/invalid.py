"""The invalid bank vectors: one small bank, tampered with in one place each."""

from __future__ import annotations

from collections.abc import Iterator

from tools.vectors._names import distinct_names
from tools.vectors.banks.chains import chain_faults
from tools.vectors.banks.document_faults import layout_faults, name_faults, root_faults
from tools.vectors.banks.feature_faults import feature_faults
from tools.vectors.banks.object_faults import (
    extra_faults,
    marker_faults,
    revision_faults,
    shard_faults,
)
from tools.vectors.banks.products import packed_faults, product_faults
from tools.vectors.banks.routers import router_faults
from tools.vectors.banks.states import state_faults
from tools.vectors.banks.writer import Files


def invalid_banks() -> Iterator[tuple[str, str, str, Files]]:
    """Name, reason, why and files of each."""
    sources = (
        root_faults(), name_faults(), layout_faults(), revision_faults(), shard_faults(),
        extra_faults(), marker_faults(), router_faults(), feature_faults(),
        product_faults(), packed_faults(), chain_faults(),
        state_faults(),
    )  # fmt: skip
    faults = [fault for source in sources for fault in source]
    names = distinct_names((reason, why) for reason, why, _ in faults)
    for name, fault in zip(names, faults, strict=True):
        yield (name, *fault)
