"""Frames: the loops that numba compiles, run as plain Python with every load and store checked.

Coverage is counted in the loops themselves. Both of tvbank's decoders, to arrays and to memory by
address, agree with the reference; an access outside of what they were given is an ``IndexError``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from spec.reference.frame import decode_frame as slow_decode
from tools.fuzz import _frames
from tools.fuzz._agreement import attempt
from tools.fuzz._interpreted import content, forget, region
from tvbank.coding import MASK_ENCODINGS, VALUE_ENCODINGS, decode_sparse, read_header
from tvbank.coding.decoding.decode import decode_frames
from tvbank.coding.decoding.table import TAIL_BYTES
from tvbank.coding.densities import run_tables
from tvbank.coding.header import HEADER_BYTES, FrameHeader

#: Entries of the longest chunk; interpreted loops take about a microsecond for each.
MOST = 1024

mutate = _frames.mutate
_TABLES = region(run_tables().tobytes())
_TAIL = b"\xff" * TAIL_BYTES


def seeds() -> Iterator[bytes]:
    return _frames.seeds(MOST)


def _fused(frame: bytes, header: FrameHeader) -> Any:
    stop = HEADER_BYTES + header.mask_bytes
    if stop > len(frame):
        return None
    mask, values = frame[HEADER_BYTES:stop], frame[stop:]
    found, patterns = (region(bytes(4 * header.nonzeros)) for _ in range(2))
    row = (
        MASK_ENCODINGS.index(header.mask), VALUE_ENCODINGS.index(header.values),
        header.mask_parameter, header.value_parameter, header.extent, header.nonzeros,
        int(region(mask + _TAIL)), len(mask), int(region(values + _TAIL)), len(values),
    )  # fmt: skip
    table, first = np.array([row], np.int64), np.zeros(1, np.int64)
    if decode_frames(table, first, header.element == "float32", found, patterns, _TABLES) >= 0:
        return None
    return content(found), content(patterns)


def check(data: bytes) -> None:
    if _frames.too_long(data, MOST):
        return
    slow = attempt(lambda: slow_decode(data))
    with np.errstate(all="ignore"):  # words wrap around
        sparse = attempt(lambda: decode_sparse(data))
        header = attempt(lambda: read_header(data))
        fused = None if header.reason else _fused(data, header.read)
    forget()
    assert slow.reason == sparse.reason, (slow, sparse)
    assert (fused is None) == (slow.reason is not None), "the fused loops' verdict is another"
    if fused is not None:
        wanted = tuple(
            np.array(each, np.uint32).tobytes()
            for each in (slow.read.positions, slow.read.patterns)
        )
        assert tuple(each.tobytes() for each in sparse.read) == wanted
        assert fused == wanted
