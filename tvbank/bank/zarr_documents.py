"""The zarr v3 documents below a task, byte for byte (spec/container.md, "Zarr documents")."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from tvbank.bank.documents import ExtraRecord
from tvbank.dtypes import ELEMENT_TYPES
from tvbank.layout import Layout

CODEC = "tvbank.sass"

#: The document of a group that says nothing: ``tasks``, ``tasks/<name>`` and ``extras``.
MARKER = b'{"attributes":{},"node_type":"group","zarr_format":3}'

#: Keys of the zarr documents of a revision, relative to its folder.
DELTA, EXTRAS = "delta/zarr.json", "extras/zarr.json"

#: No extra's chunk may have more bytes; codecs count them in 32 bits.
MAX_CHUNK_BYTES = 2**31 - 1

#: An extra's chunks have at most this many bytes, or one row.
EXTRA_CHUNK_BYTES = 2**26

_CRC32C = {"name": "crc32c"}
_LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
_KEYS = {"name": "default", "configuration": {"separator": "/"}}


def markers(kind: str, names: Collection[str]) -> list[str]:
    """Keys of the plain groups on the way to tasks or routers; none where there are none."""
    return [f"{kind}/zarr.json", *(f"{kind}/{name}/zarr.json" for name in names)] if names else []


def delta_document(layout: Layout, element: str) -> bytes:
    """``delta/zarr.json``: one sharded vector of the layout's length."""
    sharding = {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [layout.chunk_length],
            "codecs": [{"name": CODEC, "configuration": {}}, _CRC32C],
            "index_codecs": [_LITTLE, _CRC32C],
            "index_location": "end",
        },
    }
    fill = 0.0 if element == "float32" else 0
    return _array(element, [layout.length], [layout.shard_length], [sharding], fill)


def extra_document(extra: ExtraRecord) -> bytes:
    """``extras/<j>/zarr.json``: a plain array, compressed with zstd."""
    dtype = stored_dtype(extra.dtype)
    fill: Any = {"b": False, "f": 0.0, "c": [0.0, 0.0]}.get(dtype.kind, 0)
    endian = _LITTLE if dtype.itemsize > 1 else {"name": "bytes"}
    zstd = {"name": "zstd", "configuration": {"level": 3, "checksum": True}}
    return _array(dtype.name, list(extra.shape), list(chunk_shape(extra)), [endian, zstd], fill)


def products_document(size: int) -> bytes:
    """``products/zarr.json``: the bytes of all factors, as one chunk."""
    return _array("uint8", [size], [size], [{"name": "bytes"}], 0)


def stored_dtype(name: str) -> np.dtype[Any]:
    """The element type of the stored array: zarr has no bfloat16 or float8, so their bits.

    Raises:
        KeyError: for an element type that no bank can hold.
    """
    return ELEMENT_TYPES[name].bits


def chunk_shape(extra: ExtraRecord) -> tuple[int, ...]:
    """Whole rows along the first axis, as many as fit ``EXTRA_CHUNK_BYTES``, at least one."""
    if not extra.shape:
        return ()
    row = max(1, math.prod(extra.shape[1:]) * stored_dtype(extra.dtype).itemsize)
    rows = max(1, min(extra.shape[0], EXTRA_CHUNK_BYTES // row))
    return (rows, *(max(1, length) for length in extra.shape[1:]))


def chunk_bytes(extra: ExtraRecord) -> int:
    """Size of one chunk before compression; 0 of an extra without elements, which has none."""
    if not chunk_count(extra):
        return 0
    return math.prod(chunk_shape(extra)) * stored_dtype(extra.dtype).itemsize


def chunk_count(extra: ExtraRecord) -> int:
    """Number of an extra's chunks."""
    if not extra.shape:
        return 1
    return -(-extra.shape[0] // chunk_shape(extra)[0]) if math.prod(extra.shape) else 0


def chunk_keys(extra: ExtraRecord) -> Iterator[str]:
    """Keys of an extra's chunks, relative to its array, in the order of their rows.

    They are made one by one: a hostile document may call for millions, and the first that is
    missing ends the check.
    """
    if not extra.shape:
        yield "c"
        return
    tail = "/0" * (len(extra.shape) - 1)
    for number in range(chunk_count(extra)):
        yield f"c/{number}{tail}"


def _array(
    dtype: str, shape: list[int], chunks: list[int], codecs: list[dict[str, Any]], fill: Any
) -> bytes:
    document = {
        "attributes": {},
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
        "chunk_key_encoding": _KEYS,
        "codecs": codecs,
        "data_type": dtype,
        "fill_value": fill,
        "node_type": "array",
        "shape": shape,
        "zarr_format": 3,
    }
    return json.dumps(document, separators=(",", ":")).encode()
