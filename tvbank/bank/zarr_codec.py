"""The codec ``tvbank.sass`` for zarr v3: a chunk of floats or integers to the frame that holds it.

Found by zarr through the entry point of the package, so that any reader of zarr v3 that has tvbank
installed reads a task as an array. It takes no configuration, and detects damage only where a
frame becomes invalid: put ``crc32c`` after it.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.common import JSON, parse_named_configuration

from tvbank.coding import MAX_ENTRIES, NO_BASE, decode_frame, encode_frame
from tvbank.errors import BaseNeededError, FrameError, UsageError

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

NAME: Final = "tvbank.sass"


@dataclass(frozen=True)
class SassCodec(ArrayBytesCodec):
    """Array-to-bytes codec: one chunk, of any shape, in C order, to one frame.

    Element types: float32 and int32. Every bit pattern is restored.
    """

    is_fixed_size = False

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> Self:
        """The codec that a zarr document names.

        Raises:
            UsageError: if it is configured; there is nothing to configure.
        """
        _, configuration = parse_named_configuration(data, NAME, require_configuration=False)
        if configuration:
            raise UsageError(f"the codec {NAME} takes no configuration, not {configuration}")
        return cls()

    def to_dict(self) -> dict[str, JSON]:
        """How a zarr document names this codec."""
        return {"name": NAME, "configuration": {}}

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> Self:
        """Check, at creation and opening, that frames can hold the chunks of an array.

        Raises:
            UsageError: for another element type than float32 and int32, or longer chunks than
                2^24 entries.
        """
        dtype = _native_dtype(array_spec)
        if dtype not in (np.float32, np.int32):
            raise UsageError(f"the codec {NAME} stores float32 and int32, not {dtype}")
        if math.prod(array_spec.shape) > MAX_ENTRIES:
            raise UsageError(
                f"the codec {NAME} stores chunks of at most {MAX_ENTRIES} entries, "
                f"not of shape {array_spec.shape}"
            )
        return self

    def compute_encoded_size(self, input_byte_length: int, _chunk_spec: ArraySpec) -> int:
        """Unknown before encoding."""
        raise NotImplementedError

    def _encode_sync(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        chunk = chunk_array.as_numpy_array().astype(_native_dtype(chunk_spec), copy=False)
        frame = encode_frame(np.ascontiguousarray(chunk).reshape(-1))
        return chunk_spec.prototype.buffer.from_bytes(frame)

    async def _encode_single(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._encode_sync, chunk_array, chunk_spec)

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        try:
            chunk = decode_frame(chunk_bytes.as_buffer_like(), math.prod(chunk_spec.shape))
        except BaseNeededError:
            raise BaseNeededError(NO_BASE) from None
        if chunk.dtype != _native_dtype(chunk_spec):
            raise FrameError(
                "element-type",
                f"invalid frame (element-type): {chunk.dtype} in an array of "
                f"{_native_dtype(chunk_spec)}",
            )
        chunk = chunk.astype(chunk_spec.dtype.to_native_dtype(), copy=False)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(chunk.reshape(chunk_spec.shape))

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return await asyncio.to_thread(self._decode_sync, chunk_bytes, chunk_spec)


def _native_dtype(spec: ArraySpec) -> np.dtype[np.generic]:
    """The element type of an array in this machine's byte order."""
    return spec.dtype.to_native_dtype().newbyteorder("=")
