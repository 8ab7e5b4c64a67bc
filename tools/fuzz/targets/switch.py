"""A frame applied to live weights by address, and taken back: the loops that ``attach`` runs.

The first byte chooses the weights' element type and, of integer frames, what an entry does.
Weights, record and scratch end where a page begins that kills the process. A frame that
``decode_sparse`` refuses is refused here, and what it had changed by then is put back, bit for bit.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np

from spec.reference.frame import decode_frame as slow_decode
from tools.fuzz import _frames
from tools.fuzz._agreement import attempt
from tools.fuzz._frames import ROOT

sys.path.insert(0, str(ROOT / "tests"))
from guarded import Guarded

from tvbank.coding import MASK_ENCODINGS, VALUE_ENCODINGS, decode_sparse, read_header
from tvbank.coding.decoding.elements import ADD, ADD_STEPS, KINDS, STEP
from tvbank.coding.decoding.positions import run_tables_address
from tvbank.coding.decoding.table import PART_COLUMNS, PLACE_COLUMNS, TAIL_BYTES, give_base
from tvbank.coding.header import HEADER_BYTES
from tvbank.switching.loops.apply import INVALID, apply_frames
from tvbank.switching.loops.restore import restore_parts

#: Entries of the longest chunk; the slow decoder takes milliseconds for it.
MOST = 4096
_TAIL = b"\xff" * TAIL_BYTES
_WEIGHTS = np.random.default_rng(0).standard_normal(MOST).astype(np.float32)
_TABLES = run_tables_address()


def seeds() -> Iterator[bytes]:
    for number, frame in enumerate(_frames.seeds(MOST)):
        yield bytes([number % 6]) + frame


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    return bytes([seed % 6]) + _frames.mutate(data[1:] or b"\0", max_size - 1, seed)


def check(data: bytes) -> None:
    frame = data[1:]
    if _frames.too_long(frame, MOST):
        return
    header = attempt(lambda: read_header(frame))
    if header.reason is not None or not header.read.nonzeros:
        return
    head = header.read
    stop = HEADER_BYTES + head.mask_bytes
    if stop > len(frame):
        return  # `read_headers` refuses it
    kind = data[0] % 3
    mode = ADD if head.element == "float32" else (STEP, ADD_STEPS)[data[0] // 3 % 2]
    width = 4 if kind == 0 else 2
    before = _WEIGHTS[: head.extent].view(np.uint32).tobytes()
    if kind:
        before = (_WEIGHTS[: head.extent].view(np.uint32) >> np.uint32(17)).astype("<u2").tobytes()
    weights = Guarded(width * head.extent, before)
    sections = (frame[HEADER_BYTES:stop], frame[stop:])
    mask, values = (Guarded(len(each) + TAIL_BYTES, each + _TAIL) for each in sections)
    positions, scratch = Guarded(4 * head.nonzeros), Guarded(4 * (head.nonzeros + 64))
    old, counter = Guarded(width * head.nonzeros), Guarded(8)
    row = (
        MASK_ENCODINGS.index(head.mask), VALUE_ENCODINGS.index(head.values), head.mask_parameter,
        head.value_parameter, head.extent, head.nonzeros,
        mask.address, head.mask_bytes, values.address, len(frame) - stop, 0, 0, 0,
    )  # fmt: skip
    places = np.array([(weights.address, kind, 0, 0, 0)], np.int64).reshape(1, PLACE_COLUMNS)
    done = np.zeros(1, np.int64)
    nothing = (np.empty((0, PLACE_COLUMNS), np.int64), done[:0], np.uint64(0), np.uint64(0))
    parts = np.array([(0, 1, 0, 0)], np.int64).reshape(1, PART_COLUMNS)
    record = (places, done, positions.address, old.address)
    table = np.array([row], np.int64)
    give_base(table, int(weights.address), width)  # a switch decodes beside the live weights
    _, fault = apply_frames(
        table, parts, counter.address, record, nothing, mode,
        np.ones(1, np.float32), scratch.address, _TABLES,
    )  # fmt: skip
    base = np.frombuffer(before, f"<u{width}")
    exponents = (base >> base.dtype.type(7 if width == 2 else 23) & 255).tolist()
    sparse = attempt(lambda: decode_sparse(frame, None, base))
    attempt(lambda: slow_decode(frame, None, exponents))  # this one counts coverage
    assert (fault == INVALID) == (sparse.reason is not None), (fault, sparse)
    assert 0 <= done[0] <= head.nonzeros
    if not fault and KINDS[kind] == "float32" and mode == ADD:
        wanted = np.frombuffer(before, np.float32).copy()
        wanted[sparse.read[0]] += sparse.read[1]
        assert weights.array.tobytes() == wanted.tobytes()
    counter.array[:] = 0
    restore_parts(record, parts, counter.address)
    assert weights.array.tobytes() == before, "the weights are not what they were"
