"""The zarr documents of arrays, byte for byte (container.md, "Zarr documents")."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from .invalid import require
from .layout import DTYPE_BYTES, Layout, Tensor

EXTRA_CHUNK_BYTES = 2**26
MAX_EXTRA_CHUNK_BYTES = 2**31 - 1

_LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
_CRC32C = {"name": "crc32c"}
_STORED_AS = {"bfloat16": "uint16", "float8_e4m3fn": "uint8", "float8_e5m2": "uint8"}
_FILL = {"bool": False, "complex64": [0.0, 0.0], "float16": 0.0, "float32": 0.0, "float64": 0.0}


def delta_document(layout: Layout, element: str) -> bytes:
    """``delta/zarr.json``: one sharded vector of the layout's length."""
    sharding = {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [layout.chunk_length],
            "codecs": [{"name": "tvbank.sass", "configuration": {}}, _CRC32C],
            "index_codecs": [_LITTLE, _CRC32C],
            "index_location": "end",
        },
    }
    return _array_document(element, [layout.length], [layout.shard_length], [sharding])


def extra_document(extra: Tensor) -> bytes:
    """``extras/<j>/zarr.json``: rows compressed with zstd."""
    endian: dict[str, Any] = _LITTLE if DTYPE_BYTES[extra.dtype] > 1 else {"name": "bytes"}
    zstd = {"name": "zstd", "configuration": {"level": 3, "checksum": True}}
    stored = _STORED_AS.get(extra.dtype, extra.dtype)
    return _array_document(stored, extra.shape, chunk_shape(extra), [endian, zstd])


def products_document(size: int) -> bytes:
    """``products/zarr.json``: bytes in one chunk."""
    return _array_document("uint8", [size], [size], [{"name": "bytes"}])


def chunk_shape(extra: Tensor) -> tuple[int, ...]:
    """Whole rows along the first axis, as many as fit 64 MiB, at least one.

    Raises:
        Invalid: ``limit`` if the chunks are too large.
    """
    if not extra.shape:
        return ()
    item = DTYPE_BYTES[extra.dtype]
    row = max(1, math.prod(extra.shape[1:]) * item)
    rows = max(1, min(extra.shape[0], EXTRA_CHUNK_BYTES // row))
    chunk = (rows, *(max(1, side) for side in extra.shape[1:]))
    size = math.prod(chunk) * item
    fits = extra.size == 0 or size <= MAX_EXTRA_CHUNK_BYTES
    require(fits, "limit", f"a chunk of extra {extra.name!r} has {size} bytes")
    return chunk


def chunk_count(extra: Tensor) -> int:
    """Chunks of an extra; none if it has no elements."""
    if extra.size == 0 or not extra.shape:
        return extra.size
    return -(-extra.shape[0] // chunk_shape(extra)[0])


def chunk_keys(extra: Tensor) -> list[str]:
    """Keys of the chunks, relative to the array."""
    tail = "/0" * (len(extra.shape) - 1)
    return [f"c/{row}{tail}" if extra.shape else "c" for row in range(chunk_count(extra))]


def _array_document(
    dtype: str, shape: Sequence[int], chunk: Sequence[int], codecs: list[dict[str, Any]]
) -> bytes:
    document = {
        "attributes": {},
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": codecs,
        "data_type": dtype,
        "fill_value": _FILL.get(dtype, 0),
        "node_type": "array",
        "shape": shape,
        "zarr_format": 3,
    }
    return json.dumps(document, separators=(",", ":")).encode()
