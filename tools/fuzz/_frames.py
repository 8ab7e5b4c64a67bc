"""Frames for fuzzing: seeds, mutations, and the decoder between pages that nobody may touch."""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tools.fuzz._mutate import mutate_bytes

ROOT: Final = Path(__file__).resolve().parents[2]
VECTORS: Final = ROOT / "spec" / "vectors"
HEADER_BYTES: Final = 24
_HEADER = struct.Struct("<4B2H4I")
#: Numbers that lie at the edge of something.
_EDGES = (0, 1, 2, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 32, 63, 64, 65, 255, 256, 257)


def seeds(most: int) -> Iterator[bytes]:
    """The vectors, valid and invalid, of chunks of at most ``most`` entries."""
    for path in sorted((VECTORS / "frames").rglob("*.bin")):
        data = path.read_bytes()
        if not too_long(data, most):
            yield data


def too_long(data: bytes, most: int) -> bool:
    """Whether a frame is of a chunk that takes the slow decoder too long."""
    entries = int.from_bytes(data[8:12], "little")
    return len(data) >= HEADER_BYTES and most < entries <= 2**24


def base_of(data: bytes, most: int) -> tuple[NDArray[np.uint16], list[int]]:
    """Weights of two bytes that a frame's own bytes make, and the exponent byte of each."""
    base = np.resize(np.frombuffer(data + bytes(2), "<u2", len(data) // 2 + 1), most)
    return base, (base >> np.uint16(7) & np.uint16(255)).tolist()


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Change a header's fields within reason, or a section, or anything."""
    dice = random.Random(seed)
    kind = dice.random()
    if len(data) < HEADER_BYTES or kind < 0.15:
        return mutate_bytes(data, max_size)
    head, body = data[:HEADER_BYTES], data[HEADER_BYTES:]
    if kind < 0.65:
        body = mutate_bytes(body or b"\0", max(1, max_size - HEADER_BYTES))
    fields = list(_HEADER.unpack(head))
    if kind > 0.45:
        for _ in range(dice.choice((1, 1, 1, 2, 3))):
            _change(fields, dice)
    if dice.random() < 0.5:
        fields[9] = _mask_bytes(fields, len(body), dice)
    return _HEADER.pack(*fields) + body


def _change(fields: list[int], dice: random.Random) -> None:
    at = dice.randrange(1, 10)
    if at < 4:
        fields[at] = dice.randrange(10)
    elif at < 6:
        fields[at] = dice.choice((*_EDGES, dice.randrange(65536), fields[at] + 256)) % 65536
    else:
        near = max(0, fields[at] + dice.choice((-8, -1, 1, 8)))
        fields[at] = dice.choice((near, *_EDGES, fields[6], fields[7], 2**31, 2**24))
        fields[at] = min(fields[at], 2**32 - 1)


def _mask_bytes(fields: list[int], body: int, dice: random.Random) -> int:
    """The size that an encoding of a fixed size needs, or any that fits."""
    _, _, mask, _, parameter, _, _, extent, nonzeros, size = fields
    bits = {0: 0, 1: 0, 2: extent, 3: nonzeros * parameter}.get(mask)
    if mask == 7 and parameter < 64:
        bits = -(-extent >> parameter) + nonzeros * (parameter + 1)
    if bits is None:
        return int(min(body, dice.choice((size, dice.randrange(body + 1)))))
    return int(min((bits + 7) // 8, 2**32 - 1))


def guarded_decoder() -> Any:
    """A function of a frame with a valid header, and of the base's weights of two bytes each.

    It returns positions and patterns, or the reason.
    """
    sys.path.insert(0, str(ROOT / "tests"))
    from guarded import Guarded

    from tvbank.coding import MASK_ENCODINGS, REASONS, VALUE_ENCODINGS
    from tvbank.coding.decoding.patterns import decode_patterns
    from tvbank.coding.decoding.positions import decode_positions, run_tables_address
    from tvbank.coding.decoding.table import TAIL_BYTES, give_base
    from tvbank.coding.header import FrameHeader

    tables = run_tables_address()
    tail = b"\xff" * TAIL_BYTES

    def decode(frame: bytes, header: FrameHeader, base: bytes) -> Any:
        stop = HEADER_BYTES + header.mask_bytes
        if stop > len(frame):
            return "frame-truncated"
        mask, values = frame[HEADER_BYTES:stop], frame[stop:]
        # Read through addresses: they must outlive the call.
        sections = [Guarded(len(part) + len(tail), part + tail) for part in (mask, values)]
        found, patterns = (Guarded(4 * header.nonzeros) for _ in range(2))
        row = (
            MASK_ENCODINGS.index(header.mask), VALUE_ENCODINGS.index(header.values),
            header.mask_parameter, header.value_parameter, header.extent, header.nonzeros,
            sections[0].address, len(mask), sections[1].address, len(values), 0, 0, 0,
        )  # fmt: skip
        table = np.array([row], np.int64)
        weights = Guarded(2 * header.extent, base[: 2 * header.extent])
        give_base(table, int(weights.address), 2)
        is_float = header.element == "float32"
        code = decode_positions(table, 0, found.address, tables)
        code = code or decode_patterns(table, 0, is_float, patterns.address, tables)
        if code:
            return REASONS[code - 1]
        return found.array.tobytes(), patterns.array.tobytes()

    return decode
