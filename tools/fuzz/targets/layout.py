"""The layout document: tvbank and the reference agree on verdict and content."""

from __future__ import annotations

from collections.abc import Iterator

from spec.reference.layout import read_layout
from tools.fuzz import _documents
from tools.fuzz._agreement import attempt
from tvbank.bank.documents import decode_layout

mutate = _documents.mutate


def seeds() -> Iterator[bytes]:
    return _documents.seeds(lambda key: key == "base/zarr.json")


def check(data: bytes) -> None:
    fast, slow = attempt(lambda: decode_layout(data)), attempt(lambda: read_layout(data))
    if not _documents.agree(data, fast, slow, same_reason=False):
        return
    layout, other = fast.read, slow.read
    assert (layout.chunk_length, layout.shard_length, layout.length, layout.shard_count) == (
        other.chunk_length, other.shard_length, other.length, other.shards
    )  # fmt: skip
    for mine, theirs in ((layout.units, other.units), (layout.whole, other.whole)):
        assert [(unit.name, unit.dtype, unit.shape, unit.sha256) for unit in mine] == [
            (unit.name, unit.dtype, unit.shape, unit.sha256) for unit in theirs.values()
        ]
    assert layout.tied == other.tied
    for unit in layout.units:
        assert layout.chunks(unit) == other.units[unit.name].chunks(other.chunk_length)
