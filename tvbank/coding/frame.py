"""Frames: the bytes of one chunk, self-describing, deterministic, checked when read.

The writer chooses by SASS, sparsity-aware storage: the smallest of all encodings by exact byte
count. That generalises [F] Eq. 16–17, which always stores grouped coordinates and guesses the group
size. Mask and value section are chosen independently. Ties go to the lower id, which is the faster
decoder, then to the lower parameter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.decoding.decode import decode_dense
from tvbank.coding.decoding.patterns import decode_patterns
from tvbank.coding.decoding.positions import decode_positions, run_tables_address
from tvbank.coding.decoding.table import TAIL_BYTES, address_of, frame_row, give_base
from tvbank.coding.encoding import Encoding, Facts, bytes_of_bits
from tvbank.coding.faults import FRAME_TRUNCATED, MASK_SECTION, NEEDS_BASE, fault, raise_fault
from tvbank.coding.header import (
    HEADER_BYTES,
    MAX_ENTRIES,
    FrameHeader,
    byte_view,
    read_header,
)
from tvbank.coding.kernel import kernel
from tvbank.coding.masks import MASKS
from tvbank.coding.masks.mask import Mask
from tvbank.coding.steps import exponent_bytes
from tvbank.coding.values import VALUES
from tvbank.coding.values.facts import Values
from tvbank.errors import UsageError

if TYPE_CHECKING:
    from typing_extensions import Buffer

_MASK: Final = {encoding.name: encoding for encoding in MASKS}
_VALUES: Final = {encoding.name: encoding for encoding in VALUES}
_AT_0: Final = np.zeros(1, np.int64)
#: The version of frames that first had encodings which are given the base.
_GIVEN: Final = next(each.version for each in MASKS if each.given_base)


@dataclass(frozen=True)
class FrameSizes:
    """Exact section lengths of one chunk in every encoding at its best parameter.

    Attributes:
        masks: bytes by name of the mask encoding; None where it cannot hold the chunk.
        values: bytes by name of the value encoding; None where it cannot hold the chunk.
    """

    masks: dict[str, int | None]
    values: dict[str, int | None]

    @property
    def frame(self) -> int:
        """Bytes of the smallest frame, header included: the length of ``encode_frame``'s result."""
        sections = (self.masks.values(), self.values.values())
        return HEADER_BYTES + sum(min(s for s in each if s is not None) for each in sections)


def encode_frame(
    chunk: NDArray[np.float32 | np.int32],
    *,
    mask: str | None = None,
    values: str | None = None,
    slack: float = 0.0,
    version: int = 1,
    row: int | None = None,
    phase: int = 0,
    base: NDArray[Any] | None = None,
) -> bytes:
    """Encode one chunk so that ``decode_frame`` restores every bit of it.

    Args:
        chunk: float32 or int32 [entries], 1 to 2^24 entries, any bit patterns.
        mask: the name of a mask encoding to use; None takes the smallest.
        values: the name of a value encoding to use; None takes the smallest.
        slack: the share of additional bytes a section may take if that makes decoding faster.
        version: the newest version of frames whose encodings are taken, unless one is named.
        row: entries of a row of the matrix that the chunk was cut from, if it was: a hint that
            makes many masks smaller. The frame holds what its decoder needs of it.
        phase: entries of that row that come before the chunk's first.
        base: the base's weights, [extent or more], float32, float16 or bfloat16, or their patterns:
            then encodings that need it to decode are taken, too, if ``version`` has them.

    Returns:
        The frame; equal chunks with equal options give equal bytes.

    Raises:
        UsageError: for a chunk of another kind, an encoding that is unknown or cannot hold the
            chunk, a slack that is negative or not finite, or a phase outside its row.
    """
    where, what = _survey(chunk, row, phase, base)
    mask_encoding, mask_parameter = (
        _choose(MASKS, where, slack, version) if mask is None else _force(MASKS, where, mask)
    )
    value_encoding, value_parameter = (
        _choose(VALUES, what, slack, version) if values is None else _force(VALUES, what, values)
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


def frame_length(
    chunk: NDArray[np.float32 | np.int32],
    *,
    version: int = 1,
    row: int | None = None,
    phase: int = 0,
) -> int:
    """Bytes of the frame that ``encode_frame`` makes of a chunk; 0 if all of it is zero.

    Args and errors as of ``encode_frame``.
    """
    where, what = _survey(chunk, row, phase)
    if not where.nonzeros:
        return 0
    mask, mask_parameter = _choose(MASKS, where, 0.0, version)
    values, value_parameter = _choose(VALUES, what, 0.0, version)
    sections = (
        mask.section_bytes(where, mask_parameter),
        values.section_bytes(what, value_parameter),
    )
    return HEADER_BYTES + sum(sections)


def decode_frame(
    frame: Buffer, entries: int | None = None, base: NDArray[Any] | None = None
) -> NDArray[np.float32 | np.int32]:
    """Decode a frame to the chunk it was made from.

    Args:
        frame: the bytes of exactly one frame.
        entries: the length that the chunk must have, if the caller knows.
        base: the base's weights of the chunk, as ``encode_frame`` was given them, if there are any.

    Returns:
        float32 or int32 [entries], by the frame's element type.

    Raises:
        FrameError: if the frame violates the spec; ``reason`` is the spec's code.
        BaseNeededError: the frame needs the base, and there is none.
    """
    header, table, _memory = _read(frame, entries, base)
    chunk = np.zeros(header.entries, np.uint32)
    positionless = header.mask == "full" and not header.given_base
    scratch = np.empty(0 if positionless else 2 * header.nonzeros, np.uint32)
    _, code = decode_dense(
        table, 0, 1, _AT_0, header.element == "float32", address_of(chunk), address_of(scratch),
        run_tables_address(),
    )  # fmt: skip
    raise_fault(code)
    return chunk.view(header.dtype)


def decode_sparse(
    frame: Buffer, entries: int | None = None, base: NDArray[Any] | None = None
) -> tuple[NDArray[np.uint32], NDArray[np.float32 | np.int32]]:
    """Decode a frame to its non-zeros only: time and memory in their number, not in the chunk's.

    Args:
        frame: the bytes of exactly one frame.
        entries: the length that the chunk must have, if the caller knows.
        base: as for ``decode_frame``.

    Returns:
        Positions, uint32 [nonzeros], strictly ascending; and values, float32 or int32 [nonzeros].

    Raises:
        FrameError: if the frame violates the spec; ``reason`` is the spec's code.
        BaseNeededError: the frame needs the base, and there is none.
    """
    header, table, _memory = _read(frame, entries, base)
    positions = np.empty(header.nonzeros, np.uint32)
    patterns = np.empty(header.nonzeros, np.uint32)
    tables = run_tables_address()
    raise_fault(decode_positions(table, 0, address_of(positions), tables))
    is_float = header.element == "float32"
    raise_fault(decode_patterns(table, 0, is_float, address_of(patterns), tables))
    return positions, patterns.view(header.dtype)


def frame_sizes(
    chunk: NDArray[np.float32 | np.int32],
    *,
    version: int = 1,
    row: int | None = None,
    phase: int = 0,
    base: NDArray[Any] | None = None,
) -> FrameSizes:
    """Count the exact bytes of a chunk's sections in every encoding.

    Args:
        chunk: as for ``encode_frame``.
        version: as for ``encode_frame``; encodings that only newer frames have hold no chunk.
        row: as for ``encode_frame``.
        phase: as for ``encode_frame``.
        base: as for ``encode_frame``; without it no encoding is tried that needs it.

    Raises:
        UsageError: for a chunk that is not float32 or int32 with one axis of 1 to 2^24 entries, or
            a phase outside its row.
    """
    where, what = _survey(chunk, row, phase, base)
    return FrameSizes(_section_sizes(MASKS, where, version), _section_sizes(VALUES, what, version))


def _section_sizes(
    encodings: Sequence[Encoding[Facts]], facts: Facts, version: int
) -> dict[str, int | None]:
    """Exact bytes of a section in each encoding at its best parameter; None where it cannot."""
    parameters = {
        each: each.best_parameter(facts) if each.version <= version else None for each in encodings
    }
    return {
        each.name: None if parameter is None else each.section_bytes(facts, parameter)
        for each, parameter in parameters.items()
    }


def _choose(
    encodings: Sequence[Encoding[Facts]], facts: Facts, slack: float, version: int
) -> tuple[Encoding[Facts], int]:
    """Choose the encoding of one section.

    Args:
        encodings: all of them, by id.
        facts: the chunk's mask or values; at least one encoding can hold them.
        slack: the share of additional bytes at which an encoding of a lower id, which decodes
            faster, is still taken; 0 takes the smallest.
        version: the newest version of frames whose encodings are taken.

    Returns:
        The first encoding within (1 + slack) times the smallest size of those that were tried, and
        its best parameter.

    Raises:
        UsageError: if ``slack`` is negative or not finite.
    """
    if not (math.isfinite(slack) and slack >= 0):
        raise UsageError(f"slack must be a finite number of at least 0, not {slack}")
    fitting: list[tuple[Encoding[Facts], int, int]] = []
    smallest: float = math.inf
    for each in encodings:
        if each.version > version or (each.costly and facts.told_by_base and version >= _GIVEN):
            continue
        if (
            _least_bytes(each, facts) < smallest
            and (parameter := each.best_parameter(facts)) is not None
        ):
            size = each.section_bytes(facts, parameter)
            fitting.append((each, parameter, size))
            smallest = min(smallest, size)
    most = (1 + slack) * smallest
    return next((each, parameter) for each, parameter, size in fitting if size <= most)


def _least_bytes(encoding: Encoding[Facts], facts: Facts) -> int:
    """Bytes that a section takes at least: all of them, where no parameter or symbol decides."""
    if encoding.allowed.least == encoding.allowed.most:
        bits = encoding.section_bits(0, facts.extent, facts.nonzeros)
        if bits is not None:
            return max(bytes_of_bits(bits), encoding.least_bytes)
    return encoding.least_bytes


def _force(
    encodings: Sequence[Encoding[Facts]], facts: Facts, name: str
) -> tuple[Encoding[Facts], int]:
    """Take one encoding whatever its size, with its best parameter.

    Raises:
        UsageError: if there is none of that name, or if it cannot hold the chunk.
    """
    by_name = {each.name: each for each in encodings}
    if name not in by_name:
        raise UsageError(f"no encoding is called '{name}'; there are {', '.join(by_name)}")
    parameter = by_name[name].best_parameter(facts)
    if parameter is None:
        able = [each.name for each in encodings if each.best_parameter(facts) is not None]
        raise UsageError(
            f"the encoding '{name}' cannot hold this chunk exactly; {', '.join(able)} can"
        )
    return by_name[name], parameter


def _survey(
    chunk: NDArray[Any], row: int | None, phase: int, base: NDArray[Any] | None = None
) -> tuple[Mask, Values]:
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
    exponents = None if base is None or chunk.dtype != np.int32 else exponent_bytes(base)
    where = Mask.of(patterns, row, phase, exponents)
    taken = np.empty(where.nonzeros, np.uint32)
    _gather(patterns, where.positions, taken)
    if exponents is None:
        return where, Values(str(chunk.dtype), taken)
    beside = np.empty(where.nonzeros, np.uint8)
    _gather(exponents, where.positions, beside)
    return where, Values(str(chunk.dtype), taken, beside)


@kernel
def _gather(patterns: Any, places: Any, out: Any) -> None:
    for index in range(places.size):
        out[index] = patterns[places[index]]


def _read(
    frame: Buffer, entries: int | None, base: NDArray[Any] | None
) -> tuple[FrameHeader, NDArray[np.int64], NDArray[np.uint8]]:
    """Header, a table of one row, and the memory that its addresses lead into.

    Raises:
        FrameError: the header is not valid, or a section is too short to be worth memory for as
            many entries as the header states.
    """
    view = byte_view(frame)
    header = read_header(view, entries)
    memory = np.frombuffer(b"".join((view, bytes(TAIL_BYTES))), np.uint8)
    stop = HEADER_BYTES + header.mask_bytes
    if len(view) < stop:
        raise fault(FRAME_TRUNCATED)
    table = np.array([frame_row(header, int(address_of(memory)), len(view))], np.int64)
    if base is not None:
        if base.size < header.extent or not base.flags.c_contiguous:
            raise UsageError(
                f"{base.size} weights of a base were given for a chunk of {header.entries} entries"
            )
        give_base(table, int(address_of(base)), base.dtype.itemsize)
    counts = header.extent, header.nonzeros
    if header.given_base and base is None:
        raise_fault(NEEDS_BASE)
    if _MASK[header.mask].least_bits(header.mask_parameter, *counts) > 8 * header.mask_bytes:
        raise fault(MASK_SECTION)
    least = _VALUES[header.values].least_bits(header.value_parameter, *counts)
    if least > 8 * (len(view) - stop):
        # A fault of the mask section comes first; positions take no more than a mask may.
        if header.mask != "full":
            positions = np.empty(header.nonzeros, np.uint32)
            raise_fault(decode_positions(table, 0, address_of(positions), run_tables_address()))
        raise fault(FRAME_TRUNCATED)
    return header, table, memory
