"""One pass over the frames of several tasks, chunk by chunk: what is counted and added up.

Of a chunk all tasks are decoded together; nothing larger than a chunk is ever dense. A task with a
parent is measured by its own steps, which start from the state that its parent left of the chunk.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice, repeat
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank._progress import Counter
from tvbank.bank.encoder import row_length
from tvbank.bank.frames import StoredFrame
from tvbank.bank.products import Product
from tvbank.bank.shard import CHECKSUM_BYTES
from tvbank.bank.task import Task
from tvbank.coding.frame import FrameSizes, frame_sizes
from tvbank.coding.header import HEADER_BYTES, FrameHeader
from tvbank.compress.exact import take_steps
from tvbank.layout import Layout, UnitRecord, fingerprint
from tvbank.merging.apply import differences, restore
from tvbank.reporting._loops import BINS, distance, length, meet, spread, tally
from tvbank.reporting._totals import NOTHING, Magnitudes, SectionTotals, UnitTotals
from tvbank.vector import BaseModel, FineTune

#: Chunks that are measured at a time.
_AHEAD = 32

#: Of about so many frames of a task every encoding is counted.
MEASURED = 48


@final
@dataclass(frozen=True)
class Subject:
    """A task to be measured.

    Attributes:
        task: its own entries, without those of its parent; shards are read whole.
        parent: the number of its parent among the subjects; None if it starts from the base.
        fine_tune: what it was made of, to tell its error.
    """

    task: Task
    parent: int | None
    fine_tune: FineTune | None


@final
@dataclass(frozen=True)
class Chunk:
    """A chunk of a unit, of all tasks.

    Attributes:
        unit: whose.
        first: position in the unit of its first entry.
        size: entries of the unit that lie in it.
        frames: by the number of the task, ascending.
        base: the base's weights, [size], if they are at hand.
        tuned: those of fine-tunes, by the number of the task.
        counted: tasks whose frames are counted in all encodings.
        products: by the number of the task.
    """

    unit: UnitRecord
    first: int
    size: int
    frames: Sequence[tuple[int, StoredFrame]]
    base: NDArray[Any] | None
    tuned: Mapping[int, NDArray[Any]]
    counted: frozenset[int]
    products: Mapping[int, Product]


@final
@dataclass
class ChunkFacts:
    """What was found of a chunk; by the number of a task."""

    unit: UnitRecord
    base_squares: float | None = None
    headers: list[tuple[int, StoredFrame, FrameHeader]] = field(default_factory=list)
    magnitudes: dict[int, Magnitudes] = field(default_factory=dict)
    unknown: set[int] = field(default_factory=set)
    sizes: list[tuple[int, StoredFrame, FrameHeader, FrameSizes]] = field(default_factory=list)
    errors: dict[int, tuple[float, float]] = field(default_factory=dict)
    met: tuple[list[int], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]] | None = None


@final
class Measurement:
    """All that is added up of some tasks.

    Attributes:
        units: of each task, by the name of the unit.
        masks, values: sections of each task.
        base_squares: ‖W‖² by unit, where the base is at hand.
        both, agree, dots: as ``meet`` has them.
    """

    def __init__(
        self, layout: Layout, subjects: Sequence[Subject], base: BaseModel | None, paired: int
    ) -> None:
        """Nothing is read yet.

        Args:
            layout: of the bank.
            subjects: a parent comes before its children.
            base: the base's weights, if they are at hand.
            paired: the first so many subjects are compared in pairs.
        """
        self._layout, self._subjects, self._base, self._paired = layout, subjects, base, paired
        self.units: list[dict[str, UnitTotals]] = [
            {name: UnitTotals() for name in subject.task} for subject in subjects
        ]
        self.masks = [SectionTotals() for _ in subjects]
        self.values = [SectionTotals() for _ in subjects]
        self.base_squares: dict[str, float] = {}
        self.both, self.agree = (np.zeros((paired, paired), np.int64) for _ in range(2))
        self.dots = np.zeros((paired, paired))

    def run(self, pool: ThreadPoolExecutor, counter: Counter) -> None:
        """Read everything once.

        Raises:
            CorruptionError: what is stored is missing or damaged; says task, unit, byte range.
            BaseMismatchError: the base has other weights than the bank's.
        """
        for unit in self._layout.units:
            self._unit(unit, pool)
            counter.advance(unit.size)

    def _unit(self, unit: UnitRecord, pool: ThreadPoolExecutor) -> None:
        seen: Future[str] | None = None
        base = None
        if self._base is not None:
            base = self._base.read_unchecked(unit.name)
            seen = pool.submit(fingerprint, base)
        having = [n for n, subject in enumerate(self._subjects) if unit.name in subject.task]
        known: dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]] = {
            number: (np.zeros(BINS, np.int64), np.zeros(BINS)) for number in having
        }
        products = self._products(unit, having)
        chunks = self._chunks(unit, base, products)
        with nullcontext() if self._base is None else self._base.blamed(unit.name):
            while some := list(islice(chunks, _AHEAD)):
                for found in pool.map(self._measure, some):
                    self._take(found, known)
        if seen is not None and self._base is not None:
            self._base.check(unit.name, seen.result())
        for number, (counts, squares) in known.items():
            totals = self.units[number][unit.name]
            if number not in products:
                unread = totals.nonzeros != int(counts.sum())
                totals.magnitudes = None if unread else Magnitudes.of(counts, squares)
            if not totals.nonzeros:
                totals.magnitudes = NOTHING

    def _products(self, unit: UnitRecord, having: Sequence[int]) -> dict[int, Product]:
        found = {}
        for number in having:
            products = self._subjects[number].task.products
            if unit.name in products:
                found[number] = product = products[unit.name]
                totals = self.units[number][unit.name]
                totals.nonzeros = unit.size
                totals.nbytes = products.stored_bytes(unit.name)
                totals.squares = squares_of(product)
        return found

    def _chunks(
        self, unit: UnitRecord, base: NDArray[Any] | None, products: Mapping[int, Product]
    ) -> Iterator[Chunk]:
        """All chunks of a unit, each with the frames that tasks have of it."""
        flat = None if base is None else base.reshape(-1)
        tuned = {
            number: subject.fine_tune.read(unit.name).reshape(-1)
            for number, subject in enumerate(self._subjects)
            if subject.fine_tune is not None and unit.name in subject.task
        }
        each = (
            zip(repeat(number), subject.task.frames(unit.name))
            for number, subject in enumerate(self._subjects)
            if unit.name in subject.task and number not in products
        )
        frames = heapq.merge(*each, key=lambda frame: (frame[1].first, frame[0]))
        upcoming = next(frames, None)
        length = self._layout.chunk_length
        every = max(1, (self._layout.length // length) // MEASURED)
        for number, first in enumerate(range(0, unit.size, length), unit.offset // length):
            here: list[tuple[int, StoredFrame]] = []
            while upcoming is not None and upcoming[1].first == first:
                here.append(upcoming)
                upcoming = next(frames, None)
            part = slice(first, min(first + length, unit.size))
            yield Chunk(
                unit, first, part.stop - first, here, None if flat is None else flat[part],
                {n: weights[part] for n, weights in tuned.items()},
                frozenset(n for n, _ in here if (number + n) % every == 0), products,
            )  # fmt: skip

    def _measure(self, chunk: Chunk) -> ChunkFacts:
        """On any thread."""
        found = ChunkFacts(chunk.unit)
        singles = None
        if chunk.base is not None:
            singles = chunk.base.astype(np.float32)
            found.base_squares = float(length(singles))
        states: dict[int, NDArray[Any]] = {}
        read: dict[int, tuple[NDArray[np.uint32], NDArray[Any]]] = {}
        for number, frame in chunk.frames:
            task = self._subjects[number].task
            header = task.header(frame)
            found.headers.append((number, frame, header))
            start = self._state(number, chunk, states)
            if header.given_base and start is None:
                found.unknown.add(number)
                continue
            positions, entries = task.decode(frame, start)
            if number in chunk.counted:
                sizes = self._sizes(chunk, number, positions, entries, start)
                found.sizes.append((number, frame, header, sizes))
            if entries.dtype == np.int32 and start is None:
                found.unknown.add(number)
                if number < self._paired:
                    read[number] = positions, entries
                continue
            sparse = positions, entries
            if entries.dtype == np.int32 and start is not None:
                end = start.copy()
                end[positions] = take_steps(end[positions], entries)
                states[number] = end
                sparse = differences(start, sparse)
            counts, squares = np.zeros(BINS, np.int64), np.zeros(BINS)
            tally(sparse[1], counts, squares)
            found.magnitudes[number] = Magnitudes.of(counts, squares)
            if number < self._paired:
                read[number] = sparse
            if number in chunk.tuned and chunk.base is not None and number not in states:
                states[number] = restore(chunk.unit.name, chunk.base, sparse)
        if singles is not None:
            self._errors(chunk, singles, states, found)
        if len(read) > 1:
            found.met = _met(chunk, read)
        return found

    def _state(
        self, number: int, chunk: Chunk, states: Mapping[int, NDArray[Any]]
    ) -> NDArray[Any] | None:
        """The weights that a task's own entries start from."""
        parent = self._subjects[number].parent
        while parent is not None:
            if parent in states:
                return states[parent]
            parent = self._subjects[parent].parent
        return chunk.base

    def _sizes(
        self, chunk: Chunk, number: int, positions: Any, entries: Any, start: Any
    ) -> FrameSizes:
        """Bytes of the chunk in every encoding that its writer could have taken."""
        whole = np.zeros(self._layout.chunk_length, entries.dtype)
        whole[positions] = entries
        row = row_length(chunk.unit.shape)
        exact = entries.dtype == np.int32
        given = exact and self._subjects[number].task.needs_base
        return frame_sizes(
            whole, version=2 if exact else 1, row=row, phase=chunk.first % row if row else 0,
            base=start if given else None,
        )  # fmt: skip

    def _errors(
        self, chunk: Chunk, base: NDArray[np.float32], states: dict[int, Any], found: ChunkFacts
    ) -> None:
        for number, weights in chunk.tuned.items():
            wanted = weights.astype(np.float32)
            state = states.get(number)
            if state is None and number in chunk.products:
                part = chunk.first, chunk.first + chunk.size
                made = (np.arange(chunk.size, dtype=np.uint32),
                        chunk.products[number].entries(*part))  # fmt: skip
                state = restore(chunk.unit.name, chunk.base, made)  # type: ignore[arg-type]
            if state is None:
                state = self._state(number, chunk, states)
            assert state is not None  # there is a base
            restored = state.astype(np.float32)
            found.errors[number] = (
                float(distance(restored, wanted)), float(distance(wanted, base))
            )  # fmt: skip

    def _take(
        self,
        found: ChunkFacts,
        known: Mapping[int, tuple[NDArray[np.int64], NDArray[np.float64]]],
    ) -> None:
        """Add what was found of a chunk; on one thread, in order, so that sums are the same."""
        name = found.unit.name
        if found.base_squares is not None:
            self.base_squares[name] = self.base_squares.get(name, 0.0) + found.base_squares
        for number, frame, header in found.headers:
            totals = self.units[number][name]
            totals.nonzeros += header.nonzeros
            totals.nbytes += len(frame.data) + CHECKSUM_BYTES
            for mine, all_of_task, encoding in (
                (totals.masks, self.masks[number].frames, header.mask),
                (totals.values, self.values[number].frames, header.values),
            ):
                mine[encoding] += 1
                all_of_task[encoding] += 1
        for number, each in found.magnitudes.items():
            known[number][0][each.bins] += each.counts
            known[number][1][each.bins] += each.squares
        for number, frame, header, sizes in found.sizes:
            rest = len(frame.data) - HEADER_BYTES - header.mask_bytes
            self.masks[number].add(header.mask_bytes, sizes.masks)
            self.values[number].add(rest, sizes.values)
        for number, (apart, wanted) in found.errors.items():
            totals = self.units[number][name]
            totals.apart = (totals.apart or 0.0) + apart
            totals.wanted += wanted
        if found.met is not None:
            numbers, both, agree, dots = found.met
            at = np.ix_(numbers, numbers)
            self.both[at] += both
            self.agree[at] += agree
            self.dots[at] += dots


def _met(
    chunk: Chunk, read: Mapping[int, tuple[NDArray[np.uint32], NDArray[Any]]]
) -> tuple[list[int], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """What each two of the tasks that have entries in a chunk have in common there."""
    count, width = len(read), -(-chunk.size // 64)
    words, negative = (np.zeros((count, width), np.uint64) for _ in range(2))
    dense = np.empty((count, chunk.size), np.float32)
    for row, (positions, entries) in enumerate(read.values()):
        spread(positions, entries, words[row], negative[row], dense[row])
    both, agree = (np.zeros((count, count), np.int64) for _ in range(2))
    dots = np.zeros((count, count))
    meet(words, negative, dense, both, agree, dots)
    return list(read), both, agree, dots


def squares_of(product: Product) -> float:
    """‖s·BA‖², from the factors alone: s² times the sum of BᵀB ∘ AAᵀ."""
    b, a = product.b.astype(np.float64), product.a.astype(np.float64)
    return float(product.scale**2 * ((b.T @ b) * (a @ a.T)).sum())
