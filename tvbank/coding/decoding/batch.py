"""Many frames in one piece of memory, with the table that the fused loops read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.decoding.decode import decode_entries
from tvbank.coding.decoding.headers import read_headers
from tvbank.coding.decoding.positions import run_tables_address
from tvbank.coding.decoding.table import EXTENT, FRAME_COLUMNS, NONZEROS, TAIL_BYTES


@final
@dataclass(frozen=True)
class Batch:
    """Frames that the fused loops can decode.

    Attributes:
        table: int64 [frames, ``FRAME_COLUMNS``].
        memory: what the table's addresses lead into; whoever uses the table keeps it.
    """

    table: NDArray[np.int64]
    memory: NDArray[np.uint8]

    @property
    def extents(self) -> NDArray[np.int64]:
        """Entries of each chunk up to its last non-zero, int64 [frames]."""
        return self.table[:, EXTENT]

    @property
    def nonzeros(self) -> NDArray[np.int64]:
        """Non-zeros of each frame, int64 [frames]."""
        return self.table[:, NONZEROS]

    def decode(
        self,
        first: int,
        last: int,
        ends: NDArray[np.int64],
        offsets: NDArray[np.int64],
        is_float: bool,
        positions: NDArray[np.int64],
        entries: NDArray[Any],
    ) -> bool:
        """Decode some of the frames to where each has its place; see ``decode_entries``.

        Returns:
            Whether they are valid.
        """
        wrong = decode_entries(
            self.table, first, last, ends, offsets, is_float, address_of(positions),
            address_of(entries), run_tables_address(),
        )  # fmt: skip
        return bool(wrong < 0)


def batch_of(frames: Sequence[bytes], entries: int, is_float: bool) -> Batch | None:
    """Lay frames out one behind the other, and read their headers.

    Args:
        frames: without their checksums.
        entries: length of a chunk.
        is_float: whether the elements are float32; else they are int32.

    Returns:
        ``None`` if a header is not valid: ``read_header`` tells which, and why.
    """
    memory = np.frombuffer(b"".join((*frames, bytes(TAIL_BYTES))), np.uint8)
    stops = np.cumsum([len(frame) for frame in frames], dtype=np.int64)
    starts = np.concatenate((np.zeros(1, np.int64), stops[:-1]))
    table = np.empty((len(frames), FRAME_COLUMNS), np.int64)
    valid = read_headers(address_of(memory), starts, stops, entries, is_float, table)
    return Batch(table, memory) if valid else None


def address_of(array: NDArray[np.generic]) -> np.uint64:
    """Where an array's memory begins; whoever passes it on keeps the array."""
    return np.uint64(array.__array_interface__["data"][0])
