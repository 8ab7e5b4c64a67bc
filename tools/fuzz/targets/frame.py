"""Frames: the compiled decoder and the reference agree on every input.

On the verdict and its reason code, on every position and every bit, dense and sparse. Coverage is
counted in the reference decoder and in the parts of tvbank that are not compiled; once more the
frame is decoded in memory that ends where a page begins that kills the process. Frames that are
given the base get one that is made of their own bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from spec.reference.frame import decode_frame as slow_decode
from tools.fuzz import _frames
from tools.fuzz._agreement import attempt
from tvbank.coding import REASONS, decode_frame, decode_sparse, read_header

#: Entries of the longest chunk; the slow decoder takes milliseconds for it.
MOST = 4096

mutate = _frames.mutate
_guarded = _frames.guarded_decoder()


def seeds() -> Iterator[bytes]:
    return _frames.seeds(MOST)


def check(data: bytes) -> None:
    if _frames.too_long(data, MOST):
        return
    base, exponents = _frames.base_of(data, MOST)
    slow = attempt(lambda: slow_decode(data, None, exponents))
    dense, sparse = (
        attempt(lambda decode=decode: decode(data, None, base))
        for decode in (decode_frame, decode_sparse)
    )
    assert slow.reason == dense.reason == sparse.reason, (slow, dense, sparse)
    assert slow.reason is None or slow.reason in REASONS
    header = attempt(lambda: read_header(data))
    guarded = header.reason or _guarded(data, header.read, base.tobytes())
    if slow.reason is not None:
        assert guarded == slow.reason
        return
    positions = np.array(slow.read.positions, np.uint32)
    patterns = np.array(slow.read.patterns, np.uint32)
    whole = np.zeros(slow.read.entries, np.uint32)
    whole[positions] = patterns
    assert dense.read.tobytes() == whole.tobytes()
    assert str(dense.read.dtype) == slow.read.element
    assert [each.tobytes() for each in sparse.read] == [positions.tobytes(), patterns.tobytes()]
    assert guarded == (positions.tobytes(), patterns.tobytes())
