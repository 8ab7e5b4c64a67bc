"""Zstandard frames of stored and repeated bytes: valid everywhere, the same bytes everywhere.

A real compressor's output changes with its version; vectors must not (RFC 8878).
"""

from __future__ import annotations

from collections.abc import Callable

_PRIMES = (
    0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63,
    0x27D4EB2F165667C5,
)  # fmt: skip
_BLOCK = 1 << 17

#: A frame that decoders skip, without content.
SKIPPABLE = bytes.fromhex("502a4d18") + bytes(4)


def zstd_frame(content: bytes, stated: int | None = None) -> bytes:
    """A frame with content size and checksum; ``stated`` is a false content size."""
    size = len(content) if stated is None else stated
    if size < 256:
        header = bytes([0b0010_0100, size])
    elif size < 65536 + 256:
        header = bytes([0b0110_0100]) + (size - 256).to_bytes(2, "little")
    else:
        header = bytes([0b1110_0100]) + size.to_bytes(8, "little")
    starts = range(0, len(content), _BLOCK) or [0]
    blocks = [_block(content[start : start + _BLOCK], start == starts[-1]) for start in starts]
    checksum = (xxh64(content) & 0xFFFFFFFF).to_bytes(4, "little")
    return bytes.fromhex("28b52ffd") + header + b"".join(blocks) + checksum


def zstd_header(header: bytes) -> Callable[[bytes], bytes]:
    """Exchanges the header, after the magic number, of a frame of less than 256 bytes."""
    return lambda frame: frame[:4] + header + frame[6:]


def _block(content: bytes, last: bool) -> bytes:
    repeated = len(content) > 3 and len(set(content)) == 1
    header = len(content) << 3 | repeated << 1 | last
    return header.to_bytes(3, "little") + (content[:1] if repeated else content)


def xxh64(data: bytes) -> int:
    """XXH64 with seed 0."""
    at = 0
    if len(data) >= 32:
        lanes = [_PRIMES[0] + _PRIMES[1], _PRIMES[1], 0, -_PRIMES[0]]
        while at + 32 <= len(data):
            for lane in range(4):
                lanes[lane] = _round(lanes[lane], int.from_bytes(data[at : at + 8], "little"))
                at += 8
        rotations = (1, 7, 12, 18)
        total = sum(_rotate(lane, by) for lane, by in zip(lanes, rotations, strict=True))
        for lane in lanes:
            total = (total ^ _round(0, lane)) * _PRIMES[0] + _PRIMES[3]
    else:
        total = _PRIMES[4]
    total += len(data)
    while at + 8 <= len(data):
        total ^= _round(0, int.from_bytes(data[at : at + 8], "little"))
        total = _rotate(total, 27) * _PRIMES[0] + _PRIMES[3]
        at += 8
    if at + 4 <= len(data):
        total ^= int.from_bytes(data[at : at + 4], "little") * _PRIMES[0] % 2**64
        total = _rotate(total, 23) * _PRIMES[1] + _PRIMES[2]
        at += 4
    for byte in data[at:]:
        total = _rotate(total ^ byte * _PRIMES[4], 11) * _PRIMES[0]
    total %= 2**64
    total = (total ^ total >> 33) * _PRIMES[1] % 2**64
    total = (total ^ total >> 29) * _PRIMES[2] % 2**64
    return total ^ total >> 32


def _round(lane: int, word: int) -> int:
    return _rotate(lane + word * _PRIMES[1], 31) * _PRIMES[0] % 2**64


def _rotate(value: int, by: int) -> int:
    value %= 2**64
    return (value << by | value >> (64 - by)) % 2**64
