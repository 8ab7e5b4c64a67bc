"""Where a chunk's non-zeros lie, as the encodings read it: bits, positions and runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.costs import COST_BITS, entropy
from tvbank.coding.encoding import GREATEST_WIDTH, LEAST_WIDTH
from tvbank.coding.kernel import kernel, nonzero_bits, ones_in, trailing_zeros
from tvbank.coding.masks.base_blocks_writer import write_base_blocks
from tvbank.coding.masks.blocks_writer import write_section
from tvbank.coding.streams import PARAMETERS, add_symbol_bits

_ONE = np.uint64(1)
_ZERO = np.uint64(0)
_LAST_BIT = np.uint64(63)
#: Runs shorter than this are counted in a histogram before their bits are.
_HISTOGRAM = 256
#: About the length of a row where none is known.
_USUAL_ROW = 512
#: With fewer runs than this, trying all encodings costs next to nothing.
_FEW_RUNS = 4096


@kernel
def mark(patterns: Any, words: Any) -> Any:
    """Set bit i of ``words`` where entry i of ``patterns`` is not zero, in one pass.

    Args:
        patterns: uint32 [n].
        words: uint64 [ceil(n / 64)]; overwritten.

    Returns:
        (ones, runs of ones, position of the last one + 1).
    """
    ones = runs = _ZERO
    extent = 0
    carry = _ZERO
    whole = patterns.size // 64
    for index in range(words.size):
        if index < whole:
            word = nonzero_bits(patterns, np.uint64(index) * np.uint64(64))
        else:
            word = _ZERO
            for lane in range(patterns.size - 64 * whole):
                word |= np.uint64(patterns[64 * whole + lane] != 0) << np.uint64(lane)
        words[index] = word
        ones += ones_in(word)
        runs += ones_in(word & ~((word << _ONE) | carry))
        carry = word >> _LAST_BIT
        if word:
            extent = index
    if ones:
        word = words[extent]
        extent *= 64
        while word:
            word >>= _ONE
            extent += 1
    return np.int64(ones), np.int64(runs), extent


@kernel
def list_ones(words: Any, positions: Any) -> None:
    """Write the indices of the 1 bits of ``words`` to ``positions`` (uint32, one entry a bit)."""
    count = 0
    for index in range(words.size):
        word = words[index]
        base = np.uint64(index) * np.uint64(64)
        while word:
            positions[count] = np.uint32(base + trailing_zeros(word))
            count += 1
            word &= word - _ONE


@kernel
def _list_runs(words: Any, extent: Any, runs: Any) -> None:
    start = np.uint64(0)
    count = 0
    carry = _ZERO
    for index in range(words.size):
        word = words[index]
        turns = word ^ ((word << _ONE) | carry)
        carry = word >> _LAST_BIT
        base = np.uint64(index) * np.uint64(64)
        while turns:
            turn = base + trailing_zeros(turns)
            runs[count] = np.uint32(turn - start)
            start = turn
            count += 1
            turns &= turns - _ONE
    if count < runs.size:
        runs[count] = np.uint32(np.uint64(extent) - start)


@kernel
def _count_run_bits(runs: Any, bits: Any) -> None:
    histograms = np.zeros((2, _HISTOGRAM), np.int64)
    last = runs.size - 1
    for index in range(runs.size):
        length = runs[index]
        if 0 < length < _HISTOGRAM and 0 < index < last:
            histograms[index & 1, length] += 1
        else:
            if index != last:
                add_symbol_bits(bits[2 * (index & 1)], length, 1)
            later = np.uint32(1) if index else np.uint32(0)
            add_symbol_bits(bits[2 * (index & 1) + 1], np.uint32(length - later), 1)
    for kind in range(2):
        for length in range(1, _HISTOGRAM):
            count = histograms[kind, length]
            if count:
                add_symbol_bits(bits[2 * kind], np.uint32(length), count)
                add_symbol_bits(bits[2 * kind + 1], np.uint32(length - 1), count)


@kernel
def columns_tell(positions: Any, extent: Any, width: Any, phase: Any) -> Any:
    """Whether the density of columns alone would save an eighth of a mask."""
    counts = np.zeros(width, np.int64)
    first = -phase
    for position in positions:
        while position >= first + width:
            first += width
        counts[position - first] += 1
    rows = (phase + extent + width - 1) // width
    cost = np.int64(0)
    for count in counts:
        # Less half a bit for each that its ones take by chance.
        cost += entropy(min(count, rows), rows) + (1 << (COST_BITS - 1))
    return 8 * cost < 7 * entropy(positions.size, rows * width)


@final
@dataclass(frozen=True, eq=False)
class Mask:
    """The set of a chunk's non-zero entries, and what it costs in each encoding of Rice symbols.

    Attributes:
        entries: length of the chunk.
        extent: position of the last non-zero + 1; 0 if there is none.
        nonzeros: number of non-zeros.
        words: uint64 [ceil(extent / 64)]; bit i is 1 where entry i is not zero.
        run_count: number of runs of ones.
        row: entries of a row of the unit that the chunk was cut from, if known.
        phase: entries of that row before the chunk's first.
        exponents: uint8 [at least extent], the exponent byte of the base's weight at each entry, if
            it is at hand (see ``segments``).
    """

    entries: int
    extent: int
    nonzeros: int
    words: NDArray[np.uint64]
    run_count: int
    row: int | None = None
    phase: int = 0
    exponents: NDArray[np.uint8] | None = None

    @staticmethod
    def of(
        patterns: NDArray[np.uint32],
        row: int | None = None,
        phase: int = 0,
        exponents: NDArray[np.uint8] | None = None,
    ) -> Mask:
        """Scan a chunk given as its 32-bit patterns, uint32 [entries]."""
        words = np.empty(-(-patterns.size // 64), np.uint64)
        nonzeros, runs, extent = mark(patterns, words)
        words = words[: -(-extent // 64)]
        return Mask(patterns.size, extent, nonzeros, words, runs, row, phase, exponents)

    @cached_property
    def told_by_base(self) -> bool:
        """Whether ``base-blocks`` surely is about the smallest encoding.

        It is where many ones lie about as single as chance would have them, and in all columns
        alike: rows and exponents are all that can tell then.
        """
        if self.exponents is None or self.run_count < _FEW_RUNS:
            return False
        by_chance = self.nonzeros * (self.extent - self.nonzeros) // self.extent
        if 2 * self.run_count < by_chance:
            return False
        return not columns_tell(self.positions, self.extent, *self.matrix)

    @cached_property
    def positions(self) -> NDArray[np.uint32]:
        """Positions of the non-zeros, ascending, uint32 [nonzeros]."""
        positions = np.empty(self.nonzeros, np.uint32)
        list_ones(self.words, positions)
        return positions

    @cached_property
    def holes(self) -> NDArray[np.uint32]:
        """Positions of the zeros below the extent, ascending, uint32 [extent − nonzeros]."""
        holes = np.empty(self.extent - self.nonzeros, np.uint32)
        words = ~self.words
        if self.extent % 64:
            words[-1] &= np.uint64((1 << self.extent % 64) - 1)
        list_ones(words, holes)
        return holes

    @cached_property
    def runs(self) -> NDArray[np.uint32]:
        """Lengths of the runs below the extent, zeros (perhaps 0) and ones in turn."""
        runs = np.zeros(2 * self.run_count + 1, np.uint32)
        _list_runs(self.words, self.extent, runs)
        return runs[:-1]

    @cached_property
    def _run_bits(self) -> tuple[NDArray[np.int64], ...]:
        """Bits of the runs of zeros as gaps and as runs, then of ones as holes and as runs."""
        bits = np.zeros((4, PARAMETERS), np.int64)
        if self.run_count:
            _count_run_bits(self.runs, bits)
        return tuple(bits)

    @cached_property
    def matrix(self) -> tuple[int, int]:
        """Entries of a row, and those of the first row before entry 0, as ``blocks`` takes them.

        Without a row that is known and fits, the extent is cut into equal rows.
        """
        if self.row is None or self.row > GREATEST_WIDTH or self.phase + self.extent <= self.row:
            rows = -(-self.extent // _USUAL_ROW)
            return max(LEAST_WIDTH, -(-self.extent // rows)), 0
        return self.row * -(-LEAST_WIDTH // self.row), self.phase

    @cached_property
    def blocks(self) -> NDArray[np.uint8]:
        """The section in encoding ``blocks``: only writing it determines its size."""
        return write_section(self.positions, self.extent, *self.matrix)

    @cached_property
    def base_blocks(self) -> NDArray[np.uint8]:
        """The section in encoding ``base-blocks``: only writing it determines its size."""
        assert self.exponents is not None
        return write_base_blocks(self.positions, self.exponents, self.extent, *self.matrix)

    @property
    def gap_bits(self) -> NDArray[np.int64]:
        """Bits of the stream of distances − 1 between ones, by k: int64 [32].

        A run of zeros makes one symbol of its length, and every further one of a run of ones a 0.
        """
        return self._run_bits[0] + (self.nonzeros - self.run_count) * _BITS_OF_ZERO

    @property
    def hole_bits(self) -> NDArray[np.int64]:
        """Bits of the stream of distances − 1 between zeros below the extent, by k: int64 [32].

        A run of ones, but for the last, makes one symbol; every further zero a 0.
        """
        further = self.extent - self.nonzeros - (self.run_count - 1)
        return self._run_bits[2] + further * _BITS_OF_ZERO

    @property
    def zero_run_bits(self) -> NDArray[np.int64]:
        """Bits of the first run of zeros and of the others' lengths − 1: int64 [32]."""
        return self._run_bits[1]

    @property
    def one_run_bits(self) -> NDArray[np.int64]:
        """Bits of the lengths − 1 of the runs of ones: int64 [32]."""
        return self._run_bits[3]


#: The symbol of 0 has a quotient of 0: a 1, then k low bits.
_BITS_OF_ZERO = np.arange(PARAMETERS, dtype=np.int64) + 1
