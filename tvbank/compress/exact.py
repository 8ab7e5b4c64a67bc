"""Exact storage: a fine-tune restored bit for bit, as integer steps between neighbouring floats.

``ordered`` maps bit patterns to integers so that neighbouring floats are neighbouring integers;
the entry is ``ordered(tuned) - ordered(base)`` modulo 2**bits, and small updates are small
integers (spec/container.md, "Exact tasks").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray

from tvbank.checkpoint import TensorSpec
from tvbank.compress.protocol import Compressor, Each, Entries


@final
@dataclass(frozen=True)
class Exact(Compressor):
    """Keep everything: fp32, fp16 and bf16, every NaN payload and the sign of every zero.

    Units whose element type differs from the base's are kept whole among the extras.

    Examples:
        >>> task = bank.add("exact", "cats.safetensors", tvbank.Exact())
        >>> bool((bank.state_dict("exact")["encoder.weight"] == cats["encoder.weight"]).all())
        True

    Attributes:
        standalone: whether entries can be read by themselves, from zarr too. By default frames are
            given the weights that the entries start from, wherever that makes them smaller: by a
            quarter to a third, for updates of a training run. Export, merge and switches have
            these weights; reading entries then takes ``base=``.
    """

    standalone: bool = False

    element: ClassVar[Literal["float32", "int32"]] = "int32"
    frame_version: ClassVar[int] = 2

    def describe(self) -> dict[str, Any]:
        """See ``Compressor.describe``."""
        return {"name": "exact", "standalone": True} if self.standalone else {"name": "exact"}

    @property
    def given_base(self) -> bool:
        """Whether frames may be given the weights that the entries start from."""
        return not self.standalone

    def accepts(self, base: TensorSpec, tuned: TensorSpec) -> bool:
        """See ``Compressor.accepts``."""
        return base.dtype == tuned.dtype

    def prepare(
        self, unit: str, base: NDArray[Any], tuned: NDArray[Any], each: Each = map
    ) -> Entries:
        """See ``Compressor.prepare``."""
        start, end = base.reshape(-1), tuned.reshape(-1)
        return lambda first, stop: steps_between(start[first:stop], end[first:stop])


def steps_between(base: NDArray[Any], tuned: NDArray[Any]) -> NDArray[np.int32]:
    """Steps, [size] int32, that lead from one array of floats to another of the same type."""
    from tvbank.coding.steps import steps_between as between  # numba: only when something is made

    return between(base.reshape(-1), tuned.reshape(-1))


def take_steps(base: NDArray[Any], steps: NDArray[np.int32]) -> NDArray[Any]:
    """The floats, in the base's shape and dtype, that lie ``steps`` [size] away from the base."""
    start = _ordered(base)
    with np.errstate(over="ignore"):
        start += steps.astype(start.dtype, copy=False)
    return _flip_negative(start).view(base.dtype).reshape(base.shape)


def _ordered(array: NDArray[Any]) -> NDArray[Any]:
    """Signed integers in the order of the floats; -0.0 comes just before +0.0."""
    signed = np.dtype(f"<i{array.dtype.itemsize}")
    return _flip_negative(np.ascontiguousarray(array).reshape(-1).view(signed))


def _flip_negative(bits: NDArray[Any]) -> NDArray[Any]:
    """Invert all bits but the sign of negative numbers; its own inverse."""
    width = bits.dtype.itemsize * 8
    largest = bits.dtype.type(2 ** (width - 1) - 1)
    flipped: NDArray[Any] = (bits >> bits.dtype.type(width - 1)) & largest
    flipped ^= bits
    return flipped
