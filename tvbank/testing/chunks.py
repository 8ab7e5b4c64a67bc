"""Strategies for chunks and frames: every shape of mask, every kind of value, and damage.

A chunk is one axis of float32 or int32. Masks and values are drawn apart and multiplied, so that
every mask encoding meets every value encoding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tvbank.coding import HEADER_BYTES, encode_frame, frame_sizes

__all__ = [
    "Chunk",
    "chunks",
    "frames",
    "hints",
    "lengths",
    "masks",
    "mutated_frames",
    "values",
]

Chunk: TypeAlias = NDArray[np.float32 | np.int32]
_Mask: TypeAlias = NDArray[np.bool_]

#: Around whole words and bytes, where streams and bitmaps end.
_EDGES = (1, 2, 7, 8, 9, 63, 64, 65, 127, 128, 129, 255, 256, 257)
_DENSITIES = (0.001, 0.01, 0.05, 0.1, 0.3, 0.5, 0.8, 0.95, 0.999)
_INT32 = np.iinfo(np.int32)
_EXTREMES = np.array([_INT32.min, _INT32.min + 1, -1, 1, _INT32.max], np.int32)
#: −0.0, ±infinity, NaNs quiet and signalling, the least and the greatest number.
_SPECIAL = np.array(
    [0x80000000, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001, 0xFFFFFFFF, 1, 0x7F7FFFFF],
    np.uint32,
)


def lengths(largest: int = 1000) -> st.SearchStrategy[int]:
    """Lengths of chunks, often at the edge of a byte or of a 64-bit word."""
    edges = [edge for edge in _EDGES if edge <= largest]
    return st.sampled_from(edges) | st.integers(1, largest)


def masks(length: int) -> st.SearchStrategy[_Mask]:
    """Which entries of a chunk are not zero: none, all, one, some by one, clustered, i.i.d."""
    explicit = hnp.arrays(np.bool_, min(length, 80)).map(lambda head: _spread(head, length))
    return st.one_of(
        st.just(np.zeros(length, np.bool_)),
        st.just(np.ones(length, np.bool_)),
        st.integers(0, length - 1).map(lambda position: np.arange(length) == position),
        st.integers(0, length - 1).map(lambda extent: np.arange(length) < extent),
        explicit,
        _clustered(length),
        _matrix(length),
        st.tuples(_generators(), st.sampled_from(_DENSITIES)).map(
            lambda drawn: drawn[0].random(length) < drawn[1]
        ),
    )


def values(length: int) -> st.SearchStrategy[Chunk]:
    """Values for all entries of a chunk: one kind of number throughout, now and then a zero."""
    return st.one_of(
        [_drawn(kind, length) for kind in (*_FLOAT_KINDS, *_INT_KINDS)]
        + [
            hnp.arrays(np.uint32, length).map(lambda bits: bits.view(np.float32)),
            hnp.arrays(np.int32, length),
        ]
    )


@st.composite
def chunks(draw: st.DrawFn, largest: int = 1000) -> Chunk:
    """Chunks of every kind.

    Args:
        draw: given by hypothesis.
        largest: the greatest number of entries.
    """
    length = draw(lengths(largest))
    chunk = draw(values(length))
    chunk.view(np.uint32)[~draw(masks(length))] = 0
    return chunk


@st.composite
def hints(draw: st.DrawFn) -> dict[str, int]:
    """What a writer may know of the matrix that a chunk was cut from: nothing, or row and phase."""
    if draw(st.booleans()):
        return {}
    row = draw(st.integers(1, 100) | st.sampled_from([384, 1000, 65535, 65536, 1 << 20]))
    return {"row": row, "phase": draw(st.integers(0, row - 1))}


@st.composite
def frames(draw: st.DrawFn, largest: int = 1000) -> bytes:
    """Valid frames, in any encoding that can hold their chunk and not only in the smallest.

    Args:
        draw: given by hypothesis.
        largest: the greatest number of entries.
    """
    chunk = draw(chunks(largest))
    hint = draw(hints())
    row, phase = hint.get("row"), hint.get("phase", 0)
    sizes = frame_sizes(chunk, version=2, row=row, phase=phase)
    mask = draw(st.sampled_from([name for name, size in sizes.masks.items() if size is not None]))
    value = draw(st.sampled_from([name for name, size in sizes.values.items() if size is not None]))
    return encode_frame(chunk, mask=mask, values=value, row=row, phase=phase)


@st.composite
def mutated_frames(draw: st.DrawFn, largest: int = 200, most: int = 3) -> bytes:
    """Frames after some damage: bits, bytes and header fields changed, cut off, or grown.

    Args:
        draw: given by hypothesis.
        largest: the greatest number of entries before the damage.
        most: the greatest number of changes; there may be none.
    """
    frame = bytearray(draw(frames(largest)))
    for _ in range(draw(st.integers(0, most))):
        draw(st.sampled_from(_DAMAGES))(draw, frame)
    return bytes(frame)


def _generators() -> st.SearchStrategy[np.random.Generator]:
    return st.integers(0, 2**32 - 1).map(np.random.default_rng)


def _spread(head: _Mask, length: int) -> _Mask:
    """A mask that starts with ``head`` and is zero from there on."""
    mask = np.zeros(length, np.bool_)
    mask[: head.size] = head
    return mask


@st.composite
def _clustered(draw: st.DrawFn, length: int) -> _Mask:
    """Alternating runs whose lengths follow two geometric distributions."""
    random = draw(_generators())
    ones = 1 / draw(st.integers(1, 100))
    zeros = 1 / draw(st.integers(1, 300))
    runs = np.stack((random.geometric(zeros, length), random.geometric(ones, length)), axis=1)
    return np.repeat(np.tile([False, True], length), runs.reshape(-1))[:length]


@st.composite
def _matrix(draw: st.DrawFn, length: int) -> _Mask:
    """Rows and columns that are not equally dense, some of them empty."""
    random = draw(_generators())
    width = draw(st.integers(1, 60))
    rows = random.random(-(-length // width)) ** draw(st.integers(1, 6))
    columns = random.random(width) ** draw(st.integers(0, 6))
    densities = (rows[:, np.newaxis] * columns).reshape(-1)[:length]
    drawn: _Mask = random.random(length) < densities * draw(st.sampled_from([0.3, 1.0, 3.0]))
    return drawn


_Kind: TypeAlias = Callable[[np.random.Generator, int], Chunk]


def _signs(random: np.random.Generator, length: int) -> NDArray[np.int64]:
    return 1 - 2 * random.integers(0, 2, length)


def _one_magnitude(random: np.random.Generator, length: int) -> Chunk:
    return _signs(random, length).astype(np.float32) * np.float32(random.standard_normal())


def _few_distinct(random: np.random.Generator, length: int) -> Chunk:
    alphabet = random.standard_normal(random.integers(1, 300)).astype(np.float32)
    return alphabet[random.integers(0, alphabet.size, length)]


def _affine_grid(random: np.random.Generator, length: int) -> Chunk:
    offset, step = random.standard_normal(2).astype(np.float32).astype(np.float64)
    codes = random.integers(0, 2 ** random.integers(1, 9), length)
    grid: NDArray[np.float32] = (offset + codes * step).astype(np.float32)
    return grid


def _gaussian(random: np.random.Generator, length: int) -> Chunk:
    return random.standard_normal(length).astype(np.float32)


def _halves(random: np.random.Generator, length: int) -> Chunk:
    patterns = random.integers(0, 0x7C01, length, np.uint16) | (
        random.integers(0, 2, length, np.uint16) << np.uint16(15)
    )
    halves: NDArray[np.float16] = patterns.view(np.float16)
    return halves.astype(np.float32)


def _upper_halves(random: np.random.Generator, length: int) -> Chunk:
    upper = random.integers(0, 2**16, length, np.uint32) << np.uint32(16)
    return upper.view(np.float32)


def _bits(random: np.random.Generator, length: int) -> Chunk:
    return random.integers(0, 2**32, length, np.uint32).view(np.float32)


def _special(random: np.random.Generator, length: int) -> Chunk:
    return _SPECIAL[random.integers(0, _SPECIAL.size, length)].view(np.float32)


def _steps(random: np.random.Generator, length: int) -> Chunk:
    sizes = random.geometric(1 / 2.0 ** random.integers(0, 20), length)
    return (_signs(random, length) * sizes).astype(np.int32)


def _one_step(random: np.random.Generator, length: int) -> Chunk:
    return (_signs(random, length) * random.integers(1, _INT32.max)).astype(np.int32)


def _extremes(random: np.random.Generator, length: int) -> Chunk:
    return _EXTREMES[random.integers(0, _EXTREMES.size, length)]


_FLOAT_KINDS: tuple[_Kind, ...] = (
    _one_magnitude, _few_distinct, _affine_grid, _gaussian, _halves, _upper_halves, _bits, _special,
)  # fmt: skip
_INT_KINDS: tuple[_Kind, ...] = (_steps, _one_step, _extremes)


def _drawn(kind: _Kind, length: int) -> st.SearchStrategy[Chunk]:
    return _generators().map(lambda random: kind(random, length))


def _flip_bit(draw: st.DrawFn, frame: bytearray) -> None:
    bit = draw(st.integers(0, max(8 * len(frame) - 1, 0)))
    if frame:
        frame[bit // 8] ^= 1 << bit % 8


def _set_header_byte(draw: st.DrawFn, frame: bytearray) -> None:
    place = draw(st.integers(0, HEADER_BYTES - 1))
    if place < len(frame):
        frame[place] = draw(st.integers(0, 9) | st.integers(0, 255))


def _replace_bytes(draw: st.DrawFn, frame: bytearray) -> None:
    place = draw(st.integers(min(HEADER_BYTES, len(frame)), len(frame)))
    frame[place : place + draw(st.integers(0, 4))] = draw(
        st.sampled_from([b"\0", b"\xff"]).flatmap(lambda byte: st.integers(0, 9).map(byte.__mul__))
        | st.binary(max_size=4)
    )


def _cut(draw: st.DrawFn, frame: bytearray) -> None:
    del frame[draw(st.integers(0, len(frame))) :]


def _grow(draw: st.DrawFn, frame: bytearray) -> None:
    frame += draw(st.binary(min_size=1, max_size=4))


_DAMAGES = (_flip_bit, _set_header_byte, _replace_bytes, _cut, _grow)
