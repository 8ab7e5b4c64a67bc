"""The difference of two tensors' raw bytes, and the checksum that proves the new ones.

As slime, vime and ModelExpress write it: one zstd frame of ``new ^ old`` (``xor``), or of a count
as u32, as many positions of bytes as u32, and the new bytes there (``overwrite``).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, cast, get_args

import numpy as np
from numpy.typing import NDArray

from tvbank._zstd import compress_frame, decompress_frame
from tvbank.errors import CheckpointError, UsageError

Encoding: TypeAlias = Literal["xor", "overwrite"]
ENCODINGS: tuple[str, ...] = get_args(Encoding)

#: The level of zstd at which those libraries compress.
_LEVEL = 1
_MAGIC = b"\x28\xb5\x2f\xfd"

Bytes: TypeAlias = NDArray[np.uint8]


def encode(old: Bytes, new: Bytes, how: str) -> Bytes:
    """The compressed difference of as many bytes.

    Raises:
        UsageError: another encoding, or too many bytes for positions of 32 bits.
    """
    if how == "xor":
        return _compress((old ^ new).tobytes())
    if how != "overwrite":
        raise UsageError(f"a difference of bytes is encoded as xor or overwrite, not {how!r}")
    if len(new) >= 2**32:
        raise UsageError("positions of 32 bits do not reach tensors of 4 GiB: encode as xor")
    places = np.flatnonzero(old != new)
    parts = np.array([len(places)], "<u4"), places.astype("<u4"), new[places]
    return _compress(b"".join(part.tobytes() for part in parts))


def decode(named: str, frame: Bytes, old: Bytes, how: str) -> Bytes:
    """The new bytes.

    Args:
        named: file and tensor, for messages.
        frame: as ``encode`` makes it.
        old: bytes of the version before.
        how: the encoding.

    Raises:
        CheckpointError: damaged; no memory is taken for more than the new bytes can be.
    """
    if how == "xor":
        return old ^ _decompress(named, frame, len(old), len(old))
    data = _decompress(named, frame, 4, 4 + 5 * len(old))
    count = int.from_bytes(data[:4].tobytes(), "little")
    if len(data) != 4 + 5 * count:
        raise _damaged(named, f"it states {count} changed bytes and has {len(data)} of data")
    places = np.frombuffer(data[4 : 4 + 4 * count].tobytes(), "<u4")
    if count and int(places.max()) >= len(old):
        raise _damaged(named, "a position lies outside of the tensor")
    new = old.copy()
    new[places] = data[4 + 4 * count :]
    return new


def checksum(how: str) -> Callable[[Bytes], str]:
    """The function of bytes that gives a checksum as hexadecimal text.

    Raises:
        CheckpointError: an unknown one.
        UsageError: one whose package is not installed.
    """
    if how == "adler32":
        return lambda data: f"{zlib.adler32(cast(Any, data)):08x}"
    try:
        if how == "xxh3-128":
            import xxhash

            return lambda data: str(xxhash.xxh3_128_hexdigest(cast(Any, data)))
        if how == "blake3":
            import blake3

            return lambda data: str(blake3.blake3(cast(Any, data)).hexdigest())
    except ImportError as error:
        raise UsageError(
            f"checksums of the kind {how} need another package: pip install 'tvbank[updates]' "
            f"({error})"
        ) from error
    raise CheckpointError(
        f"{how!r} is no known kind of checksum (adler32, xxh3-128, blake3); install a newer tvbank"
    )


def _compress(data: bytes) -> Bytes:
    return np.frombuffer(compress_frame(data, _LEVEL), np.uint8)


def _decompress(named: str, frame: Bytes, least: int, most: int) -> Bytes:
    """What one zstd frame holds, of so many bytes, which are known before memory is taken."""
    size = _stated_size(frame)
    if size is None:
        return _decompress_unsized(named, frame, least, most)
    if not least <= size <= most:
        raise _damaged(named, f"it states {size} bytes, where {least} to {most} can be")
    plain = np.zeros(size, np.uint8)
    try:
        decompress_frame(frame.tobytes(), plain)
    except ValueError as error:
        raise _damaged(named, str(error)) from error
    return plain


def _decompress_unsized(named: str, frame: Bytes, least: int, most: int) -> Bytes:
    try:
        import zstandard
    except ImportError as error:
        raise UsageError(
            f"{named} does not state its size: to read it within bounds, pip install "
            "'tvbank[updates]'"
        ) from error
    try:
        data = zstandard.ZstdDecompressor().decompress(frame.tobytes(), max_output_size=most)
    except zstandard.ZstdError as error:
        raise _damaged(named, str(error)) from error
    if len(data) < least:
        raise _damaged(named, f"it holds {len(data)} bytes, where {least} to {most} can be")
    return np.frombuffer(data, np.uint8)


def _stated_size(frame: Bytes) -> int | None:
    """The size of the content that a frame's header states, if it does."""
    head = frame[:18].tobytes()
    if head[:4] != _MAGIC or len(head) < 6:
        return -1
    kind, single, dictionary = head[4] >> 6, bool(head[4] & 32), (0, 1, 2, 4)[head[4] & 3]
    start = 5 + (not single) + dictionary
    width = {0: 1 if single else 0, 1: 2, 2: 4, 3: 8}[kind]
    if width == 0:
        return None
    return int.from_bytes(head[start : start + width], "little") + (256 if width == 2 else 0)


def _damaged(named: str, what: str) -> CheckpointError:
    return CheckpointError(f"{named} is damaged ({what}); fetch it again")
