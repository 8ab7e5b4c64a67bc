"""Frames: the loops that numba compiles, run as plain Python with every load and store checked.

Coverage is counted in the loops themselves. They agree with the reference; an access outside of
the memory that they were given is an ``IndexError``. Frames that are given the base get one that is
made of their own bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from spec.reference.frame import decode_frame as slow_decode
from tools.fuzz import _frames
from tools.fuzz._agreement import attempt
from tools.fuzz._interpreted import content, decoding_tables, forget, lend, region
from tvbank.coding import MASK_ENCODINGS, REASONS, VALUE_ENCODINGS, read_header
from tvbank.coding.decoding.patterns import decode_patterns
from tvbank.coding.decoding.positions import decode_positions
from tvbank.coding.decoding.table import TAIL_BYTES, give_base
from tvbank.coding.header import HEADER_BYTES, FrameHeader

#: Entries of the longest chunk; interpreted loops take about a microsecond for each.
MOST = 1024

mutate = _frames.mutate
_TABLES = decoding_tables()
_TAIL = b"\xff" * TAIL_BYTES


def seeds() -> Iterator[bytes]:
    return _frames.seeds(MOST)


def _decode(frame: bytes, header: FrameHeader, base: bytes) -> Any:
    """Positions and patterns, or the reason."""
    stop = HEADER_BYTES + header.mask_bytes
    if stop > len(frame):
        return "frame-truncated"
    mask, values = frame[HEADER_BYTES:stop], frame[stop:]
    found, patterns = (region(bytes(4 * header.nonzeros)) for _ in range(2))
    row = (
        MASK_ENCODINGS.index(header.mask), VALUE_ENCODINGS.index(header.values),
        header.mask_parameter, header.value_parameter, header.extent, header.nonzeros,
        int(region(mask + _TAIL)), len(mask), int(region(values + _TAIL)), len(values),
        0, 0, 0,
    )  # fmt: skip
    table = lend(np.array([row], np.int64))
    give_base(table, int(region(base[: 2 * header.extent])), 2)
    code = decode_positions(table, 0, found, _TABLES)
    code = code or decode_patterns(table, 0, header.element == "float32", patterns, _TABLES)
    if code:
        return REASONS[code - 1]
    return content(found), content(patterns)


def check(data: bytes) -> None:
    if _frames.too_long(data, MOST):
        return
    base, exponents = _frames.base_of(data, MOST)
    slow = attempt(lambda: slow_decode(data, None, exponents))
    with np.errstate(all="ignore"):  # words wrap around
        header = attempt(lambda: read_header(data))
        decoded = header.reason or _decode(data, header.read, base.tobytes())
    forget()
    wanted = slow.reason or tuple(
        np.array(each, np.uint32).tobytes() for each in (slow.read.positions, slow.read.patterns)
    )
    assert decoded == wanted, (decoded, wanted)
