"""Kernels without numba: the same loops as plain Python, and the machine instructions they need.

Numbers are numpy's scalars, which wrap around as machine integers do. Only loops that read are run
so, those of ``READERS``: the vectors, valid and invalid, and fuzzing hold them against the
reference decoder. Everything else says that it needs numba.

As in machine code, addresses are not checked: the loops have bounds that hold for any bytes
(spec/decisions/0018).
"""

from __future__ import annotations

import ctypes
import os
import warnings
from collections.abc import Callable
from functools import cached_property, update_wrapper
from importlib.util import find_spec
from types import FunctionType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tvbank._imports import missing_package


def _has_numba() -> bool:
    try:
        return find_spec("numba") is not None
    except ImportError:  # what is asked first refuses it
        return False


_HAS_NUMBA: Final = _has_numba()
#: Whether kernels are compiled. With ``NUMBA_DISABLE_JIT=1``, numba's own switch, they are not.
COMPILED: Final = _HAS_NUMBA and os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")

#: Modules, and packages of modules, whose loops read and give the same numbers without numba.
READERS: Final = (
    "tvbank.coding.decoding",
    "tvbank.coding.densities",
    "tvbank.coding.header",
    "tvbank.coding.kernel",
    "tvbank.coding.levels",
    "tvbank.coding.magnitudes",
    "tvbank.coding.product",
    "tvbank.coding.rans",
    "tvbank.coding.steps",
    "tvbank.merging.apply",
)
#: What the other loops do, by the beginning of their module's name.
_OTHERS: Final = {
    "tvbank.artefacts": "reading T-Switch's bit files",
    "tvbank.coding": "encoding",
    "tvbank.compress": "compressing",
    "tvbank.flexswitch": "FlexSwitch",
    "tvbank.merging": "merging",
    "tvbank.reporting": "a report",
    "tvbank.switching": "switching",
}
_LANES: Final = 64
_warned = False


class PlainKernel:
    """A function whose integers wrap around and which never warns, as if it were compiled."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function: Any = function
        update_wrapper(self, function)

    def __call__(self, *arguments: Any) -> Any:
        """Run it; what it calls of other kernels is run with it."""
        _warn()
        with np.errstate(all="ignore"):
            return self.inner(*arguments)

    @cached_property
    def inner(self) -> Callable[..., Any]:
        """The function, in which other kernels are plain functions, too."""
        function = self._function
        names = dict(function.__globals__)
        for name in function.__code__.co_names:
            if isinstance(names.get(name), PlainKernel):
                names[name] = names[name].inner
        return FunctionType(
            function.__code__, names, function.__name__, function.__defaults__, function.__closure__
        )


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel without numba: plain Python if it only reads, else what says that it needs numba."""
    module = function.__module__
    if any(module == each or module.startswith(f"{each}.") for each in READERS):
        return PlainKernel(function)
    if _HAS_NUMBA:  # it was switched off, by someone who looks for a fault
        return PlainKernel(function)
    return needs_numba(module)


def needs_numba(module: str) -> Callable[..., Any]:
    """What takes the place of a loop of a module that there is not without numba."""
    what = next((done for start, done in _OTHERS.items() if module.startswith(start)), module)

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise missing_package(ModuleNotFoundError(name="numba"), what) or AssertionError(module)

    return refuse


def _warn() -> None:
    """Say once what it costs (``python -m tools.release plain`` measures it)."""
    global _warned
    if not _warned:
        _warned = True
        if not _HAS_NUMBA:
            warnings.warn(
                "numba is not installed: tvbank decodes to the same bits in plain Python, 400 to "
                "1,200 times as slowly, 7 to 15 s for a million entries; for compiled loops: "
                "pip install 'tvbank[fast]'",
                RuntimeWarning,
                stacklevel=3,
            )


class Nothing:
    """Stands for numba's and LLVM's types where no machine code is made of them."""

    def __getattr__(self, name: str) -> Nothing:
        return self

    def __call__(self, *arguments: Any) -> Nothing:
        """Nothing is made."""
        return self


def _loader(kind: Any, made: Any) -> Callable[..., Any]:
    read = kind.from_address
    return lambda address: made(read(int(address)).value)


def _storer(kind: Any) -> Callable[..., None]:
    at = kind.from_address

    def store(address: Any, value: Any) -> None:
        at(int(address)).value = int(value)

    return store


#: Unsigned integers at an address, by their bits.
LOADS: Final = {
    8: _loader(ctypes.c_uint8, np.uint8), 16: _loader(ctypes.c_uint16, np.uint16),
    32: _loader(ctypes.c_uint32, np.uint32), 64: _loader(ctypes.c_uint64, np.uint64),
}  # fmt: skip
STORES: Final = {
    8: _storer(ctypes.c_uint8), 16: _storer(ctypes.c_uint16),
    32: _storer(ctypes.c_uint32), 64: _storer(ctypes.c_uint64),
}  # fmt: skip


def load_word(data: NDArray[np.uint8], byte: Any) -> np.uint64:
    """The 64 bits that start at a byte of an array."""
    return np.uint64(int.from_bytes(data[int(byte) : int(byte) + 8].tobytes(), "little"))


def load_lanes(patterns: NDArray[np.uint32], index: Any) -> np.uint64:
    """Which of 64 entries of an array are not zero, as bits."""
    return _bits(patterns[int(index) : int(index) + _LANES] != 0)


def trailing_zeros(word: Any) -> np.uint64:
    """Number of zero bits below the lowest 1; 64 for zero."""
    number = int(word)
    return np.uint64((number & -number).bit_length() - 1 if number else 64)


def leading_zeros(word: Any) -> np.uint64:
    """Number of zero bits above the highest 1 of 64; 64 for zero."""
    return np.uint64(64 - int(word).bit_length())


def ones_in(word: Any) -> np.uint64:
    """Number of 1 bits."""
    return np.uint64(int(word).bit_count())


def float_of(pattern: Any) -> np.float32:
    """The float32 of a uint32 pattern."""
    return np.uint32(pattern).view(np.float32)


def pattern_of(number: Any) -> np.uint32:
    """The uint32 pattern of a float32."""
    return np.float32(number).view(np.uint32)


def nothing(address: Any) -> None:
    """Cache lines are not asked for."""


def pointer_to(kind: Any) -> Callable[..., Any]:
    """What ``array_at`` makes arrays of this element type of."""
    return lambda address: (kind, address)


def array_at(pointer: Any, shape: Any) -> NDArray[Any]:
    """An array of the memory at an address; it holds nothing that keeps that memory."""
    kind, address = pointer
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    memory = (ctypes.c_uint8 * size).from_address(int(address))
    return np.frombuffer(memory, kind).reshape(shape)


def bytes_at_least(address: Any, bound: Any, array: Callable[..., Any] = array_at) -> np.uint64:
    """Which of the 64 bytes at an address are a bound or more, as bits."""
    return _bits(array((np.uint8, address), _LANES) >= int(bound) % 256)


def _bits(marks: NDArray[np.bool_]) -> np.uint64:
    return np.uint64(int.from_bytes(np.packbits(marks, bitorder="little").tobytes(), "little"))
