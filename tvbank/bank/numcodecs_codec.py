"""The codec ``tvbank.sass`` for numcodecs: zarr v2, kerchunk and others that use its registry."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import numpy as np
from numcodecs.abc import Codec
from numcodecs.compat import ensure_contiguous_ndarray, ensure_ndarray, ndarray_copy
from numpy.typing import NDArray

from tvbank.coding import NO_BASE, decode_frame, encode_frame
from tvbank.errors import BaseNeededError, UsageError

NAME: Final = "tvbank.sass"


class Sass(Codec):  # type: ignore[misc]
    """Encodes one array of float32 or int32, in the order of its memory, to one frame."""

    codec_id: ClassVar[str] = NAME

    def encode(self, buf: object) -> bytes:
        """Encode an array of any shape.

        Args:
            buf: float32 or int32, 1 to 2^24 entries.

        Raises:
            UsageError: for another element type or number of entries.
        """
        array = ensure_ndarray(buf)
        if array.dtype not in (np.float32, np.int32):
            raise UsageError(f"the codec {NAME} stores float32 and int32, not {array.dtype}")
        return encode_frame(np.ravel(array, order="A"))

    def decode(self, buf: object, out: object = None) -> NDArray[Any]:
        """Decode a frame.

        Args:
            buf: the bytes of one frame.
            out: where to put the entries, if given: a writable buffer of exactly their size.

        Returns:
            float32 or int32 with one axis; ``out`` if that is given.

        Raises:
            FrameError: if the frame violates the spec.
            BaseNeededError: if it was stored given the base.
        """
        try:
            chunk = decode_frame(ensure_contiguous_ndarray(buf))
        except BaseNeededError:
            raise BaseNeededError(NO_BASE) from None
        result: NDArray[Any] = ndarray_copy(chunk, out)
        return result
