"""The compiled loops as plain Python: every access of memory is checked.

Under NUMBA_DISABLE_JIT loops are plain Python (``tvbank.coding.plain``). Here what reads and writes
memory by address raises ``IndexError`` where the machine would touch what it was not given.
"""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding import plain

_REGION_BITS: Final = 32
#: No address of the process is as high: regions are told from arrays that a loop makes itself.
_HIGH: Final = 1 << 62
#: Modules that take the addresses of arrays they make.
_WITH_ADDRESSES: Final = (
    "decoding.blocks",
    "decoding.base_blocks",
    "decoding.magnitudes",
    "decoding.patterns",
)
_regions: dict[int, NDArray[np.uint8]] = {}
_made: list[NDArray[Any]] = []


def region(data: bytes) -> np.uint64:
    """Make memory that holds ``data``; returns its address."""
    number = len(_regions) + 1
    _regions[number] = np.frombuffer(data, np.uint8).copy()
    return np.uint64(_HIGH | number << _REGION_BITS)


def decoding_tables() -> np.uint64:
    """The address of decoding tables, the first region: a decoder's "address" is its slot."""
    from tvbank.coding.decoding.decoders import RUN_TABLES_AT
    from tvbank.coding.densities import run_tables

    slots = np.arange(RUN_TABLES_AT // 8, dtype=np.uint64)
    return region(slots.tobytes() + run_tables().tobytes())


def content(address: Any) -> bytes:
    """What the memory at an address that ``region`` returned holds."""
    return _regions[(int(address) - _HIGH) >> _REGION_BITS].tobytes()


def lend(array: NDArray[Any]) -> NDArray[Any]:
    """The same array, which loops may now also read by its address."""
    _made.append(array)
    return array


def forget() -> None:
    """Take all memory back but the first region, which holds tables."""
    for number in [number for number in _regions if number > 1]:
        del _regions[number]
    _made.clear()


def _part(address: Any, size: int) -> NDArray[np.uint8]:
    if int(address) < _HIGH:
        return _part_of_made(int(address), size)
    number, start = divmod(int(address) - _HIGH, 1 << _REGION_BITS)
    memory = _regions.get(number)
    if memory is None or start + size > memory.size:
        held = None if memory is None else memory.size
        raise IndexError(f"bytes {start} to {start + size} of {held}")
    return memory[start : start + size]


def _part_of_made(address: int, size: int) -> NDArray[np.uint8]:
    for array in _made:
        start = address - array.ctypes.data
        if start >= 0 and start + size <= array.nbytes:
            return array.reshape(-1).view(np.uint8)[start : start + size]
    raise IndexError(f"{size} bytes outside of every array")


class _Numpy:
    """numpy for the fused loops: what arrays it makes can be found by address."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def empty(self, *arguments: Any) -> NDArray[Any]:
        made: NDArray[Any] = np.empty(*arguments)
        _made.append(made)
        return made

    def zeros(self, *arguments: Any) -> NDArray[Any]:
        made: NDArray[Any] = np.zeros(*arguments)
        _made.append(made)
        return made


def _loader(kind: Any) -> Any:
    size = np.dtype(kind).itemsize
    return lambda address: kind(int.from_bytes(_part(address, size).tobytes(), "little"))


def _storer(kind: Any) -> Any:
    size = np.dtype(kind).itemsize

    def store(address: Any, value: Any) -> None:
        part = _part(address, size)
        part[:] = np.frombuffer(int(value).to_bytes(size, "little"), np.uint8)

    return store


def _load_word(data: NDArray[np.uint8], byte: Any) -> np.uint64:
    if int(byte) + 8 > data.size:
        raise IndexError(f"a word at byte {byte} of {data.size}")
    return plain.load_word(data, byte)


def _load_lanes(patterns: NDArray[np.uint32], index: Any) -> np.uint64:
    if int(index) + 64 > patterns.size:
        raise IndexError(f"64 entries from {index} of {patterns.size}")
    return plain.load_lanes(patterns, index)


def _array(pointer: Any, shape: Any) -> NDArray[Any]:
    """``numba.carray``: an array of memory by address."""
    kind, address = pointer
    itemsize = np.dtype(kind).itemsize
    return _part(address, itemsize * int(np.prod(shape))).view(kind).reshape(shape)


def interpret() -> None:
    """Check what reads and writes memory by address, before anything imports it by name."""
    kernel = importlib.import_module("tvbank.coding.kernel")
    _replace(kernel, {"_load_word": _load_word, "_load_lanes": _load_lanes, "carray": _array})
    memory = importlib.import_module("tvbank.coding.decoding.memory")
    known: dict[str, Any] = {}
    for bits, kind in ((8, np.uint8), (16, np.uint16), (32, np.uint32), (64, np.uint64)):
        known |= {f"load_{bits}": _loader(kind), f"store_{bits}": _storer(kind)}
    _replace(memory, known)
    for name in _WITH_ADDRESSES:
        _replace(importlib.import_module(f"tvbank.coding.{name}"), {"np": _Numpy()})
    given = importlib.import_module("tvbank.coding.decoding.given")
    _replace(given, {"bytes_at_least": partial(plain.bytes_at_least, array=_array)})


def _replace(module: Any, known: dict[str, Any]) -> None:
    for name, function in known.items():
        if hasattr(module, name):
            setattr(module, name, function)
