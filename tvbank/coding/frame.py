"""Frames: the bytes of one chunk, self-describing, deterministic, checked when read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.faults import fault
from tvbank.coding.gather import gather, scatter
from tvbank.coding.header import (
    HEADER_BYTES,
    MAX_ENTRIES,
    FrameHeader,
    byte_view,
    read_header,
)
from tvbank.coding.masks import MASKS, Mask
from tvbank.coding.sass import FrameSizes, choose, force, section_sizes
from tvbank.coding.values import VALUES, Values
from tvbank.errors import UsageError

if TYPE_CHECKING:
    from typing_extensions import Buffer

_MASK: Final = {encoding.name: encoding for encoding in MASKS}
_VALUES: Final = {encoding.name: encoding for encoding in VALUES}


def encode_frame(
    chunk: NDArray[np.float32 | np.int32],
    *,
    mask: str | None = None,
    values: str | None = None,
    slack: float = 0.0,
    row: int | None = None,
    phase: int = 0,
) -> bytes:
    """Encode one chunk so that ``decode_frame`` restores every bit of it.

    Args:
        chunk: float32 or int32 [entries], 1 to 2^24 entries, any bit patterns.
        mask: the name of a mask encoding to use; None takes the smallest.
        values: the name of a value encoding to use; None takes the smallest.
        slack: the share of additional bytes a section may take if that makes decoding faster.
        row: entries of a row of the matrix that the chunk was cut from, if it was: a hint that
            makes many masks smaller. The frame holds what its decoder needs of it.
        phase: entries of that row that come before the chunk's first.

    Returns:
        The frame; equal chunks with equal options give equal bytes.

    Raises:
        UsageError: for a chunk of another kind, an encoding that is unknown or cannot hold the
            chunk, a slack that is negative or not finite, or a phase outside its row.
    """
    where, what = _survey(chunk, row, phase)
    mask_encoding, mask_parameter = (
        choose(MASKS, where, slack) if mask is None else force(MASKS, where, mask)
    )
    value_encoding, value_parameter = (
        choose(VALUES, what, slack) if values is None else force(VALUES, what, values)
    )
    mask_section = mask_encoding.encode(where, mask_parameter)
    header = FrameHeader(
        element=what.element,
        mask=mask_encoding.name,
        values=value_encoding.name,
        mask_parameter=mask_parameter,
        value_parameter=value_parameter,
        entries=where.entries,
        extent=where.extent,
        nonzeros=where.nonzeros,
        mask_bytes=mask_section.size,
    )
    value_section = value_encoding.encode(what, value_parameter)
    return b"".join((header.to_bytes(), mask_section.data, value_section.data))


def decode_frame(frame: Buffer, entries: int | None = None) -> NDArray[np.float32 | np.int32]:
    """Decode a frame to the chunk it was made from.

    Args:
        frame: the bytes of exactly one frame.
        entries: the length that the chunk must have, if the caller knows.

    Returns:
        float32 or int32 [entries], by the frame's element type.

    Raises:
        FrameError: if the frame violates the spec; ``reason`` is the spec's code.
    """
    header, positions, patterns = _decode(frame, entries)
    if positions is not None:
        return scatter(patterns, positions, header.entries).view(header.dtype)
    chunk = np.zeros(header.entries, np.uint32)
    chunk[: header.extent] = patterns
    return chunk.view(header.dtype)


def decode_sparse(
    frame: Buffer, entries: int | None = None
) -> tuple[NDArray[np.uint32], NDArray[np.float32 | np.int32]]:
    """Decode a frame to its non-zeros only: time and memory in their number, not in the chunk's.

    Args:
        frame: the bytes of exactly one frame.
        entries: the length that the chunk must have, if the caller knows.

    Returns:
        Positions, uint32 [nonzeros], strictly ascending; and values, float32 or int32 [nonzeros].

    Raises:
        FrameError: if the frame violates the spec; ``reason`` is the spec's code.
    """
    header, positions, patterns = _decode(frame, entries)
    if positions is None:
        positions = np.arange(header.extent, dtype=np.uint32)
    return positions, patterns.view(header.dtype)


def frame_sizes(
    chunk: NDArray[np.float32 | np.int32], *, row: int | None = None, phase: int = 0
) -> FrameSizes:
    """Count the exact bytes of a chunk's sections in every encoding.

    Args:
        chunk: as for ``encode_frame``.
        row: as for ``encode_frame``.
        phase: as for ``encode_frame``.

    Raises:
        UsageError: for a chunk that is not float32 or int32 with one axis of 1 to 2^24 entries, or
            a phase outside its row.
    """
    where, what = _survey(chunk, row, phase)
    return FrameSizes(section_sizes(MASKS, where), section_sizes(VALUES, what))


def _survey(chunk: NDArray[Any], row: int | None, phase: int) -> tuple[Mask, Values]:
    if not isinstance(chunk, np.ndarray) or chunk.dtype not in (np.float32, np.int32):
        kind = getattr(chunk, "dtype", type(chunk).__name__)
        raise UsageError(f"a chunk must be an array of float32 or int32, not {kind}")
    if chunk.ndim != 1 or not 1 <= chunk.size <= MAX_ENTRIES:
        raise UsageError(
            f"a chunk has one axis of 1 to {MAX_ENTRIES} entries, not the shape {chunk.shape}"
        )
    if (row is not None and row < 1) or not 0 <= phase < (row or 1):
        raise UsageError(f"a chunk cannot begin {phase} entries into a row of {row}")
    # Copied unless contiguous, aligned and writable: each kernel is compiled for one kind of array.
    patterns = np.require(chunk, requirements=["C", "A", "W"]).view(np.uint32)
    where = Mask.of(patterns, row, phase)
    return where, Values(str(chunk.dtype), gather(patterns, where.positions))


def _decode(
    frame: Buffer, entries: int | None
) -> tuple[FrameHeader, NDArray[np.uint32] | None, NDArray[np.uint32]]:
    """Header, positions and patterns; no positions where they are all below the extent."""
    view = byte_view(frame)
    header = read_header(view, entries)
    stop = HEADER_BYTES + header.mask_bytes
    if len(view) < stop:
        raise fault("frame-truncated", f"{len(view)} bytes, the mask section alone ends at {stop}")
    positions = None
    if header.mask != "full":
        positions = _MASK[header.mask].decode(view[HEADER_BYTES:stop], header)
    return header, positions, _decode_values(view[stop:], header)


def _decode_values(section: memoryview, header: FrameHeader) -> NDArray[np.uint32]:
    size = header.value_bytes
    if size is not None and len(section) < size:
        raise fault("frame-truncated", f"{len(section)} of the {size} bytes of the value section")
    if size is not None and len(section) > size:
        raise fault("frame-trailing", f"{len(section) - size} bytes behind the value section")
    return _VALUES[header.values].decode(section, header)
