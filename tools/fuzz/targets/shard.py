"""A shard's index and the checksums of its frames: tvbank and the reference agree.

The first byte: bit 7, whether the index is given the checksum it needs; else the number of chunks.
"""

from __future__ import annotations

from collections.abc import Iterator

from spec.reference.crc32c import split_checksum
from spec.reference.shards import index_size, read_index
from tools.fuzz._agreement import attempt
from tools.fuzz._frames import VECTORS
from tvbank.bank.shard import build_shard, check_frame, crc32c, index_bytes, parse_index


def seeds() -> Iterator[bytes]:
    for path in sorted((VECTORS / "banks").rglob("delta/c/*")):
        if path.stat().st_size <= 4096:
            for chunks in (1, 2, 3, 8):
                yield bytes([chunks]) + path.read_bytes()
    for chunks in range(1, 6):
        for frames in ([], [0], [chunks - 1], range(chunks)):
            shard = build_shard(chunks, [(n, bytes(n)) for n in dict.fromkeys(frames)])
            for flag in (0, 128):
                yield bytes([flag | chunks]) + (shard or b"\xff" * (16 * chunks + 4))


def check(data: bytes) -> None:
    if not data:
        return
    chunks, shard = max(1, data[0] & 127), data[1:]
    size = index_bytes(chunks)
    assert size == index_size(chunks)
    if len(shard) < size:
        return  # refused at opening: no larger than its index
    if data[0] & 128:
        shard = shard[:-4] + crc32c(shard[-size:-4])
    tail = shard[-size:]
    fast = attempt(lambda: parse_index(tail, chunks, len(shard)))
    slow = attempt(lambda: read_index(tail, chunks, len(shard)))
    assert fast.reason == slow.reason, (fast, slow)
    if fast.reason is not None:
        return
    for number, part in enumerate(slow.read):
        place = fast.read.locate(number)
        assert (place and range(*place)) == part
        if place is None:
            continue
        stored = shard[place[0] : place[1]]
        assert place[1] <= len(shard) - size
        assert len(stored) == place[1] - place[0]
        body, intact = split_checksum(stored)
        checked = attempt(lambda stored=stored: check_frame(stored))
        assert checked == ((None, body) if intact else ("frame-checksum", None))
