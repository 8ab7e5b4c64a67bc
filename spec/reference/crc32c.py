"""CRC-32C (Castagnoli): the checksum of zarr's ``crc32c`` codec, as four little-endian bytes."""

from __future__ import annotations

_REVERSED_POLYNOMIAL = 0x82F63B78


def _table_entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_REVERSED_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE = [_table_entry(byte) for byte in range(256)]


def crc32c(data: bytes) -> bytes:
    """The checksum of some bytes."""
    register = 0xFFFFFFFF
    for byte in data:
        register = register >> 8 ^ _TABLE[(register ^ byte) & 0xFF]
    return (register ^ 0xFFFFFFFF).to_bytes(4, "little")


def split_checksum(data: bytes) -> tuple[bytes, bool]:
    """Bytes without their last four, and whether those are the checksum of the others."""
    body, stated = data[:-4], data[-4:]
    return body, stated == crc32c(body)
