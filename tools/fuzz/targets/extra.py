"""The chunk of an extra: what zstd makes of it is what the reference reads, or it is refused.

The first two bytes: the size that the chunk must have.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np

from spec.reference.extras import _decompress
from tools.fuzz._agreement import attempt
from tools.fuzz._frames import VECTORS
from tools.fuzz._mutate import mutate_bytes
from tvbank.bank.extras import compress, decompress
from tvbank.bank.zstd_header import content_size
from tvbank.errors import FormatError


def seeds() -> Iterator[bytes]:
    for path in sorted((VECTORS / "banks").rglob("extras/*/c/**/*")):
        if path.is_file() and path.stat().st_size <= 4096:
            for size in (24, 6, 48):
                yield size.to_bytes(2, "little") + path.read_bytes()
    dice = np.random.default_rng(0)
    for size in (0, 1, 2, 255, 256, 257, 1000, 65535):
        for high in (1, 4, 256):
            content = dice.integers(0, high, size, np.uint8).tobytes()
            yield size.to_bytes(2, "little") + compress(content)


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Change a frame after the size that it states, mostly, and ask for that size."""
    dice = random.Random(seed)
    chunk = data[2:]
    if len(chunk) > 9 and dice.random() < 0.7:
        kept = dice.choice((5, 6, 7, 9))
        head = bytearray(chunk[:kept])
        if dice.random() < 0.5:
            head[4] &= ~4  # without a checksum more of it is looked at
        chunk = bytes(head) + mutate_bytes(chunk[kept:], max_size)
    else:
        chunk = mutate_bytes(chunk or b"\0", max_size)
    try:
        stated = content_size(chunk)
    except FormatError:
        stated = 2**16
    size = stated if stated < 2**16 and dice.random() < 0.9 else dice.randrange(2**16)
    return size.to_bytes(2, "little") + chunk[: max_size - 2]


def check(data: bytes) -> None:
    size, chunk = int.from_bytes(data[:2], "little"), data[2:]
    fast = attempt(lambda: decompress(chunk, size))
    slow = attempt(lambda: _decompress(chunk, size))
    assert fast.reason == slow.reason, (fast, slow)
    if fast.reason is None:
        assert fast.read.size == size
        assert fast.read.tobytes() == slow.read
