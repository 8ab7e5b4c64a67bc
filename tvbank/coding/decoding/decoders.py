"""One compiled decoder an encoding: found by its id, and compiled when a frame first needs it.

Loops call a decoder through its address in the decoding tables. So none of them contains the
decoders, which would be compiled again in every loop, and nobody pays for encodings that no frame
uses. Until its first call, an address leads to Python, which compiles the decoder and enters its
address; the loops run without the GIL, so that any thread may do so.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.densities import run_tables
from tvbank.coding.faults import note_stopped
from tvbank.coding.kernel import COMPILED, compile_for_c, instruction, ir, types
from tvbank.coding.plain import PlainKernel

#: A function of (section, size, parameter, extent or whether the elements are float32, nonzeros,
#: out, tables, given) that returns a code of ``faults``; see ``decode_positions`` and
#: ``decode_patterns``. ``given`` is the address of three words: see ``table.GIVEN``.
Decoder = Callable[[Any, Any, Any, Any, Any, Any, Any, Any], Any]

#: Bytes of the decoding tables before the run tables: addresses of decoders, 64 bits each.
RUN_TABLES_AT: Final = 256
_WORD: Final = ir.IntType(64)
_KINDS: Final = (types.uint64, *4 * (types.int64,), *3 * (types.uint64,))
_PROTOTYPE: Final = ctypes.CFUNCTYPE(
    ctypes.c_int64, ctypes.c_uint64, *4 * (ctypes.c_int64,), *3 * (ctypes.c_uint64,)
)
#: The compiled decoders: loops hold nothing but their addresses, so they are kept alive here.
_kept: Final[list[Any]] = []
#: Without numba: the decoder of each slot, and the slot in the place of its address.
_plain: Final[dict[int, PlainKernel]] = {}


def _make_tables() -> NDArray[np.uint64]:
    runs = run_tables().view(np.uint64)
    return np.concatenate((np.zeros(RUN_TABLES_AT // 8, np.uint64), runs))


_TABLES: Final = _make_tables()
_ADDRESS: Final = np.uint64(_TABLES.__array_interface__["data"][0])


def run_tables_address() -> np.uint64:
    """Where the decoding tables lie: addresses of the decoders, then the run tables."""
    return _ADDRESS


def enter(first: int, decoders: Sequence[Decoder]) -> None:
    """Enter the decoders of consecutive ids into the tables, from slot ``first`` on."""
    for slot, decoder in enumerate(decoders, first):
        if not COMPILED:
            _TABLES[slot], _plain[slot] = slot, PlainKernel(decoder)
            continue
        _kept.append(_PROTOTYPE(_compiled_at_first_call(slot, decoder)))
        _TABLES[slot] = ctypes.cast(_kept[-1], ctypes.c_void_p).value or 0


def _compiled_at_first_call(slot: int, decoder: Decoder) -> Callable[..., int]:
    def call(*arguments: int) -> int:
        try:
            _TABLES[slot] = address = compile_for_c(decoder, types.int64(*_KINDS))
            return int(_PROTOTYPE(address)(*arguments))
        except BaseException as error:  # compiled code calls this: what it raises would be lost
            note_stopped(error)
            return 0

    return call


def _call_plain(slot: Any, *arguments: Any) -> Any:
    return _plain[int(slot)].inner(*arguments)


@instruction(_call_plain)
def call_decoder(
    typing: Any, address: Any, section: Any, size: Any, parameter: Any, fact: Any, count: Any,
    out: Any, tables: Any, given: Any,
) -> Any:  # fmt: skip
    """Call the decoder at an address: 1 plus its code, or 0 if it did not come to an end."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(_WORD, [_WORD] * len(_KINDS))
        function = builder.inttoptr(arguments[0], kind.as_pointer())
        return builder.call(function, arguments[1:])

    return types.int64(types.uint64, *_KINDS), generate
