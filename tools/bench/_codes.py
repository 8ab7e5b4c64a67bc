"""Generic ways to store which entries of a task are kept, and their signs.

Each takes a task as a list of units and returns bytes, charging nothing for names, shapes or a
container: of every unit 4 bytes of magnitude, of every kept entry its sign in a bit, and the mask.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from numcodecs.zstd import Zstd

_ZSTD = Zstd(level=19)


@dataclass(frozen=True)
class Kept:
    """What a task keeps of one unit: positions int64 [m], ascending, and values float32 [m]."""

    shape: tuple[int, ...]
    positions: np.ndarray
    values: np.ndarray

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def _values(units: list[Kept]) -> int:
    return sum(4 + -(-len(unit.positions) // 8) for unit in units if len(unit.positions))


def shannon_mask(units: list[Kept]) -> float:
    """n·H(p) bits of every unit: no code for independent entries can do with less."""
    bits = 0.0
    for unit in units:
        p = len(unit.positions) / unit.size if unit.size else 0.0
        if 0 < p < 1:
            bits -= unit.size * (p * math.log2(p) + (1 - p) * math.log2(1 - p))
    return bits / 8


def shannon(units: list[Kept]) -> float:
    """The entropy of the masks, and signs."""
    return shannon_mask(units) + _values(units)


def bitmap_zstd(units: list[Kept]) -> int:
    """A bit an entry through zstd -19, per unit or all at once."""
    bitmaps = [np.zeros(unit.size, np.bool_) for unit in units]
    for unit, bitmap in zip(units, bitmaps, strict=True):
        bitmap[unit.positions] = True
    return best_zstd([np.packbits(bitmap) for bitmap in bitmaps]) + _values(units)


def gaps_zstd(units: list[Kept]) -> int:
    """Gaps in bytes through zstd -19, per unit or all at once."""
    return best_zstd([gap_stream(unit.positions) for unit in units]) + _values(units)


def grouped_coordinates(units: list[Kept]) -> int:
    """[F] Eq. 16 with one value bit and the group size of Eq. 17, of the divisors of n."""
    bits = 0
    for unit in units:
        if m := len(unit.positions):
            ideal = math.log(2) * unit.size / m
            group = min(_divisors(unit.size), key=lambda c: abs(ideal - c))
            bits += 35 + unit.size // group + m * (math.ceil(math.log2(group)) + 2)
    return -(-bits // 8)


def roaring(units: list[Kept]) -> int:
    """pyroaring bitmaps with runs, per unit or one of the whole task."""
    from pyroaring import BitMap, BitMap64

    def size(positions: np.ndarray, kind: type) -> int:
        bitmap = kind(positions.astype(np.uint64 if kind is BitMap64 else np.uint32))
        bitmap.run_optimize()
        return len(bitmap.serialize())

    starts = np.cumsum([0, *(unit.size for unit in units)])
    whole = np.concatenate([u.positions + s for u, s in zip(units, starts, strict=False)])
    kind = BitMap64 if starts[-1] > 2**32 else BitMap
    apart = sum(size(unit.positions, BitMap) for unit in units if len(unit.positions))
    return min(apart, size(whole, kind)) + _values(units)


def csr(units: list[Kept]) -> int:
    """scipy's CSR with a byte a sign, in memory or as a compressed .npz, whichever is less."""
    from scipy import sparse

    total = 0
    for unit in units:
        if not len(unit.positions):
            continue
        columns = unit.shape[-1] if len(unit.shape) > 1 else unit.size
        signs = np.where(np.signbit(unit.values), -1, 1).astype(np.int8)
        row, column = np.divmod(unit.positions, columns)
        matrix = sparse.csr_array((signs, (row, column)), shape=(unit.size // columns, columns))
        file = io.BytesIO()
        sparse.save_npz(file, matrix, compressed=True)
        held = matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
        total += 4 + min(held, file.tell())
    return total


def gap_stream(positions: np.ndarray) -> np.ndarray:
    """One byte a gap between ascending positions, 255 for 255 more zeros."""
    gaps = np.diff(positions, prepend=-1) - 1
    full, rest = np.divmod(gaps, 255)
    stream = np.full(int(full.sum()) + gaps.size, 255, np.uint8)
    stream[np.cumsum(full + 1) - 1] = rest
    return stream


def best_zstd(streams: list[np.ndarray]) -> int:
    """Bytes of some streams through zstd -19, one by one or all at once."""
    apart = sum(len(_ZSTD.encode(np.ascontiguousarray(s))) for s in streams if s.size)
    together = np.concatenate(streams) if streams else np.empty(0, np.uint8)
    return min(apart, len(_ZSTD.encode(together)) if together.size else 0)


def _divisors(number: int) -> list[int]:
    small = [c for c in range(1, math.isqrt(number) + 1) if number % c == 0]
    return small + [number // c for c in small]


#: Name, function, package that it needs.
BASELINES = [
    ("Shannon, i.i.d. per unit", shannon, ""),
    ("bitmap + zstd-19", bitmap_zstd, ""),
    ("u8 gaps + zstd-19", gaps_zstd, ""),
    ("grouped COO, [F] Eq. 17", grouped_coordinates, ""),
    ("roaring (pyroaring)", roaring, "pyroaring"),
    ("scipy CSR", csr, "scipy"),
]
