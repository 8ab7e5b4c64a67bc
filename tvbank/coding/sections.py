"""What a header alone says about the two sections: parameter ranges and exact sizes, without numba.

One row an encoding (spec: mask encodings, value encodings). A size is None where only decoding the
symbols tells it.
"""

from __future__ import annotations

from typing import Final

#: Names by id, which is also the order of preference at equal bytes: the faster decoder first.
MASK_ENCODINGS: Final = (
    "empty", "full", "bitmap", "index", "holes", "runs", "gaps", "grouped", "blocks",
)  # fmt: skip
VALUE_ENCODINGS: Final = (
    "none", "sign", "table", "affine", "float16", "bfloat16", "raw", "rice",
)  # fmt: skip

#: Rice parameters go up to here in masks, whose symbols are below 2^24, and in values.
MASK_RICE_LIMIT: Final = 24
VALUE_RICE_LIMIT: Final = 31
GROUP_LIMIT: Final = 16
#: Entries of a row in ``blocks``.
LEAST_WIDTH: Final = 16
GREATEST_WIDTH: Final = 65535
TABLE_LIMIT: Final = 256
AFFINE_LIMIT: Final = 8

_VALUES_OF_ELEMENT: Final = {
    "float32": frozenset(("none", "sign", "table", "affine", "float16", "bfloat16", "raw")),
    "int32": frozenset(("none", "sign", "table", "raw", "rice")),
}


def bytes_of_bits(bits: int) -> int:
    """Bytes that hold ``bits`` bits: the section length of a bit stream."""
    return (bits + 7) // 8


def code_bits(count: int) -> int:
    """Bits of a code that tells ``count`` things apart: 0 for one thing."""
    return (count - 1).bit_length()


def value_encoding_allowed(name: str, element: str) -> bool:
    """Whether value encoding ``name`` exists for chunks of ``element``."""
    return name in _VALUES_OF_ELEMENT[element]


def mask_parameter_allowed(name: str, parameter: int, extent: int) -> bool:
    """Whether the header may hold ``parameter`` beside mask encoding ``name`` and ``extent``."""
    match name:
        case "index":
            return parameter == code_bits(extent)
        case "holes" | "gaps":
            return parameter <= MASK_RICE_LIMIT
        case "runs":
            return parameter % 256 <= MASK_RICE_LIMIT and parameter // 256 <= MASK_RICE_LIMIT
        case "grouped":
            return 1 <= parameter <= GROUP_LIMIT
        case "blocks":
            return LEAST_WIDTH <= parameter <= GREATEST_WIDTH
        case _:
            return parameter == 0


def value_parameter_allowed(name: str, parameter: int) -> bool:
    """Whether the header may hold ``parameter`` beside value encoding ``name``."""
    match name:
        case "table":
            return 1 <= parameter <= TABLE_LIMIT
        case "affine":
            return 1 <= parameter <= AFFINE_LIMIT
        case "rice":
            return parameter <= VALUE_RICE_LIMIT
        case _:
            return parameter == 0


def mask_section_bits(name: str, parameter: int, extent: int, nonzeros: int) -> int | None:
    """Bits of a mask section, or None where they depend on its symbols."""
    match name:
        case "bitmap":
            return extent
        case "index":
            return nonzeros * parameter
        case "grouped":
            groups = -(-extent >> parameter)
            return groups + nonzeros * (parameter + 1)
        case "holes" | "runs" | "gaps" | "blocks":
            return None
        case _:
            return 0


def value_section_bytes(name: str, parameter: int, nonzeros: int) -> int | None:
    """Bytes of a value section, or None where they depend on its Rice symbols."""
    match name:
        case "sign":
            return 4 + bytes_of_bits(nonzeros)
        case "table":
            return 4 * parameter + bytes_of_bits(nonzeros * code_bits(parameter))
        case "affine":
            return 8 + bytes_of_bits(nonzeros * parameter)
        case "float16" | "bfloat16":
            return 2 * nonzeros
        case "raw":
            return 4 * nonzeros
        case "rice":
            return None
        case _:
            return 0
