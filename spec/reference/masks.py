"""Mask sections: which entries of the chunk are not zero (masks.md)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from .bits import EndOfSection, Section, bytes_for, strictly_ascending
from .blocks import decode_base_blocks, decode_blocks
from .invalid import Invalid, require

EMPTY, FULL, BITMAP, INDEX, HOLES, RUNS, GAPS, GROUPED, BLOCKS, BASE_BLOCKS = range(10)
#: The last encoding of frame version 1.
LAST_OF_FIRST = BLOCKS
MAX_RICE_PARAMETER = 24


def mask_parameter_is_valid(encoding: int, parameter: int, extent: int) -> bool:
    """Whether the header's mask parameter is one that the encoding allows."""
    if encoding == INDEX:
        return parameter == (extent - 1).bit_length()
    if encoding in (HOLES, GAPS):
        return parameter <= MAX_RICE_PARAMETER
    if encoding == RUNS:
        k_one, k_zero = divmod(parameter, 256)
        return k_zero <= MAX_RICE_PARAMETER and k_one <= MAX_RICE_PARAMETER
    if encoding == GROUPED:
        return 1 <= parameter <= 16
    if encoding in (BLOCKS, BASE_BLOCKS):
        return 16 <= parameter <= 65535
    return parameter == 0


def mask_section_size(encoding: int, parameter: int, extent: int, nonzeros: int) -> int | None:
    """Bytes of a section whose size follows from the header; ``None`` for streams of symbols."""
    if encoding in (EMPTY, FULL):
        return 0
    if encoding == BITMAP:
        return bytes_for(extent)
    if encoding == INDEX:
        return bytes_for(nonzeros * parameter)
    if encoding == GROUPED:
        return bytes_for(_groups(extent, parameter) + nonzeros * (parameter + 1))
    return None


def decode_mask(
    encoding: int,
    parameter: int,
    extent: int,
    nonzeros: int,
    data: bytes,
    exponents: Sequence[int] = (),
) -> Sequence[int]:
    """Positions of the non-zeros, ascending; ``exponents`` is for ``base-blocks``.

    Raises:
        Invalid: ``mask-section``, ``mask-parameter``, ``padding``, ``non-canonical`` or
            ``position``, in this order.
    """
    if encoding in (EMPTY, FULL):
        return range(extent)
    section = Section(data)
    try:
        if encoding == BASE_BLOCKS:
            found: list[int] | None = decode_base_blocks(data, parameter, extent, exponents)
            section.at = len(section.bits)
        else:
            found = _READERS[encoding](section, parameter, extent, nonzeros)
    except EndOfSection:
        raise Invalid("mask-section", "the section ends within a symbol") from None
    require(section.bytes_read == len(data), "mask-section", "bytes follow the last symbol")
    require(section.padding_is_zero(), "padding", "an unused bit of the mask section is 1")
    require(section.canonical, "non-canonical", "the mask escapes a value that needs no escape")
    require(
        found is not None
        and len(found) == nonzeros
        and strictly_ascending(found)
        and found[-1] == extent - 1,
        "position",
        f"the mask does not hold {nonzeros} ascending positions of which the last is {extent - 1}",
    )
    assert found is not None
    return found


def _bitmap(section: Section, _: int, extent: int, __: int) -> list[int]:
    return section.flags(extent)


def _index(section: Section, width: int, _: int, nonzeros: int) -> list[int]:
    return section.fields(width, nonzeros)


def _gaps(section: Section, k: int, _: int, nonzeros: int) -> list[int]:
    return _walk([section.rice(k) for _ in range(nonzeros)])


def _holes(section: Section, k: int, extent: int, nonzeros: int) -> list[int] | None:
    zeros = _walk([section.rice(k) for _ in range(extent - nonzeros)])
    if zeros and zeros[-1] >= extent:
        return None
    absent = set(zeros)
    return [position for position in range(extent) if position not in absent]


def _runs(section: Section, parameter: int, extent: int, _: int) -> list[int] | None:
    k_one, k_zero = divmod(parameter, 256)
    runs: list[range] = []
    end = 0
    while end < extent:
        start = end + section.rice(k_zero) + (1 if runs else 0)
        end = start + section.rice(k_one) + 1
        runs.append(range(start, end))
    return [position for run in runs for position in run] if end == extent else None


def _grouped(section: Section, s: int, extent: int, nonzeros: int) -> list[int] | None:
    groups = iter(section.flags(_groups(extent, s)))
    entries = [(section.field(s), section.field(1)) for _ in range(nonzeros)]
    found: list[int] = []
    group = None
    for index, last in entries:
        group = next(groups, None) if group is None else group
        if group is None:
            return None
        found.append((group << s) + index)
        group = None if last else group
    return found if group is None and next(groups, None) is None else None


def _blocks(section: Section, width: int, extent: int, _: int) -> list[int]:
    data = section.bits.tobytes()
    section.at = len(section.bits)
    return sorted(decode_blocks(data, width, extent))


def _groups(extent: int, s: int) -> int:
    """Groups of 2**s entries that the extent takes."""
    return -(-extent >> s)


def _walk(distances: list[int]) -> list[int]:
    """Positions from the number of entries skipped before each."""
    return [end - 1 for end in accumulate(distance + 1 for distance in distances)]


_READERS = {
    BITMAP: _bitmap,
    INDEX: _index,
    HOLES: _holes,
    RUNS: _runs,
    GAPS: _gaps,
    GROUPED: _grouped,
    BLOCKS: _blocks,
}
