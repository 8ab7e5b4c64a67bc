"""A bank: opened, and read unit by unit (container.md)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from .arrays import chunk_count, chunk_keys
from .chains import ancestors
from .documents import Catalog, Revision, Stored, Task, read_revision, read_root
from .extras import join_chunks
from .folder import Folder
from .frame import Frame, NeedsBase, read_header
from .invalid import require
from .layout import Layout, Tensor, read_layout, require_layout
from .products import CHUNK, DOCUMENT, FEATURE, check_products, product_entries, product_places
from .routers import Router, check_numbers, read_router
from .shards import Entries, index_size, read_chunk, read_index, unit_entries
from .weights import exponent_bytes, tuned_weights

ROOT = "zarr.json"
LAYOUT = "base/zarr.json"


def open_bank(folder: str | Path) -> Bank:
    """Read the root document and the layout: all that opening takes.

    Raises:
        Invalid: with any reason that the two documents can have.
    """
    store = Folder(Path(folder))
    catalog = read_root(store.get(ROOT))
    layout = read_layout(store.checked(LAYOUT, catalog.layout))
    index = index_size(layout.chunks_per_shard)
    for name, task in catalog.tasks.items():
        require_layout(
            len(task.shards) == layout.shards
            and all(shard is None or shard.size > index for shard in task.shards),
            f"the shards of task {name!r} do not fit the layout",
        )
    return Bank(store, catalog, layout)


class Bank(NamedTuple):
    """An open bank."""

    store: Folder
    catalog: Catalog
    layout: Layout

    def key(self, name: str) -> str:
        """The folder of a task's revision."""
        return f"tasks/{name}/{self.catalog.tasks[name].revision.sha256}"

    def revision(self, name: str) -> Revision:
        """A task's revision document, checked against catalog and layout."""
        task = self.catalog.tasks[name]
        data = self.store.checked(f"{self.key(name)}/zarr.json", task.revision)
        revision = read_revision(data)
        require_layout(revision.layout == self.layout.sha256, f"{name!r} is of another layout")
        replaced = [extra.name for extra in revision.extras if extra.name in self.layout.units]
        listed = (
            task.element,
            task.shards,
            task.nonzeros,
            task.replaced,
            task.compressor,
            task.features,
            task.parent,
        )
        found = (
            revision.element,
            revision.shards,
            revision.nonzeros,
            replaced,
            revision.compressor,
            revision.features,
            revision.parent,
        )
        require_layout(listed == found, f"catalog and revision of task {name!r} differ")
        if revision.state is not None:
            changeable = self.layout.units.keys() - replaced
            fits = revision.element == "int32" and revision.state.keys() <= changeable
            require_layout(fits, f"the state of {name!r} is of what has no steps")
        sizes = {key: stored.size for key, stored in revision.objects.items()}
        kept = {extra.name for extra in revision.extras}
        check_products(self.layout, revision.products, sizes, kept, revision.features)
        others = {"delta/zarr.json"} | ({DOCUMENT, CHUNK} if revision.products else set())
        if revision.products:
            allowed = FEATURE in revision.features and revision.element == "float32"
            require_layout(allowed, f"{name!r} has products and does not say so")
        _check_objects(others, revision.extras, revision.objects)
        return revision

    def entries(self, name: str, unit_name: str, base: bytes | None = None) -> Entries:
        """The non-zeros of a task in a unit, by two range requests a shard; one of a product.

        ``base`` are the unit's weights in the base, which some frames need.

        Raises:
            NeedsBase: a frame is given the base, and there is none.
        """
        task, unit = self.catalog.tasks[name], self.layout.units[unit_name]
        if FEATURE in task.features:
            for product, place in product_places(self.layout, self.revision(name).products):
                if product.unit == unit_name:
                    data = self.store.part(f"{self.key(name)}/{CHUNK}", place)
                    require(len(data) == len(place), "object-size", f"{CHUNK} ends early")
                    return product_entries(unit, product, data)
        return self.frames_of(name, unit_name, base)

    def frames_of(self, name: str, unit_name: str, base: bytes | None = None) -> Entries:
        """The non-zeros of the delta in a unit; see ``entries``."""
        task, unit = self.catalog.tasks[name], self.layout.units[unit_name]
        length = self.layout.chunk_length
        frames: list[Frame | None] = []
        for number, chunk in enumerate(self._chunks(name, unit_name)):
            exponents = None
            if base is not None:
                # A frame may state an extent beyond the unit, where no weights are: ``address``.
                exponents = exponent_bytes(unit.dtype, base)[number * length :][:length]
                exponents += [0] * (length - len(exponents))
            frames.append(
                None if chunk is None else read_chunk(chunk, task.element, length, exponents)
            )
        return unit_entries(unit, self.layout, frames)

    def nonzeros(self, name: str, unit_name: str) -> int:
        """The number of the delta's non-zeros in a unit, as frames that need the base state it."""
        task, unit = self.catalog.tasks[name], self.layout.units[unit_name]
        length, count = self.layout.chunk_length, 0
        required = set()
        for number, chunk in enumerate(self._chunks(name, unit_name)):
            if chunk is None:
                continue
            try:
                frame = read_chunk(chunk, task.element, length)
                count += len(unit_entries(unit, self.layout, [None] * number + [frame]).positions)
                required |= {"frame-2"} if frame.version == 2 else set()
            except NeedsBase:
                header = read_header(chunk[:-4], length)
                within = number * length + header.extent <= unit.size
                require(within, "address", f"a non-zero after the end of unit {unit.name!r}")
                count += header.nonzeros
                required |= {"frame-2", "given-base"}
        lacking = sorted(required - {*task.features})
        require_layout(not lacking, f"the frames of {name!r} need {lacking}, unstated")
        return count

    def _chunks(self, name: str, unit_name: str) -> list[bytes | None]:
        """The stored bytes of a unit's chunks."""
        task, unit = self.catalog.tasks[name], self.layout.units[unit_name]
        chunks = unit.chunks(self.layout.chunk_length)
        per_shard = self.layout.chunks_per_shard
        found: list[bytes | None] = []
        for number in range(chunks.start // per_shard, -(-chunks.stop // per_shard)):
            first = number * per_shard
            within = range(max(chunks.start - first, 0), min(chunks.stop - first, per_shard))
            found += self._stored(name, task, number, within)
        return found

    def extra(self, name: str, extra_name: str) -> bytes:
        """The raw little-endian bytes of an extra."""
        revision = self.revision(name)
        numbers = {extra.name: number for number, extra in enumerate(revision.extras)}
        return self.read_extra(name, revision, numbers[extra_name])

    def read_extra(self, name: str, revision: Revision, number: int) -> bytes:
        """The raw little-endian bytes of the extra of a number."""
        extra, folder = revision.extras[number], f"extras/{number}"
        keys = [f"{folder}/{key}" for key in chunk_keys(extra)]
        records = [(f"{self.key(name)}/{key}", revision.objects[key]) for key in keys]
        return join_chunks(extra, [self.store.checked(key, stored) for key, stored in records])

    def router(self, name: str) -> tuple[Router, list[bytes]]:
        """A router's document, and the raw bytes of its arrays, all checked."""
        entry = self.catalog.routers[name]
        folder = f"routers/{name}/{entry.revision.sha256}"
        data = self.store.checked(f"{folder}/zarr.json", entry.revision)
        router = read_router(data, self.layout.sha256)
        _check_objects(set(), router.extras, router.objects)
        arrays = []
        for number, extra in enumerate(router.extras):
            keys = [f"extras/{number}/{key}" for key in chunk_keys(extra)]
            stored = [self.store.checked(f"{folder}/{key}", router.objects[key]) for key in keys]
            arrays.append(join_chunks(extra, stored))
        check_numbers(router, arrays)
        return router, arrays

    def weights(self, name: str, tensor_name: str, base: bytes) -> bytes:
        """A tensor of the fine-tune as raw little-endian bytes.

        Args:
            name: the task.
            tensor_name: a unit, whole unit, alias or extra.
            base: the raw bytes of the base's tensor of that name, if there is one.
        """
        extras = {extra.name for extra in self.revision(name).extras}
        owner = self.layout.tied.get(tensor_name, tensor_name)
        for candidate in (tensor_name, owner):
            if candidate in extras:
                return self.extra(name, candidate)
        if owner in self.layout.whole:
            return base
        state = self.revision(name).state or {}
        for each in (*ancestors(self.catalog.tasks, name), name):
            entries = self.entries(each, owner, base)
            pairs = zip(entries.positions, entries.patterns, strict=True)
            element = self.catalog.tasks[each].element
            base = tuned_weights(self.layout.units[owner].dtype, base, element, pairs)
        same = owner not in state or hashlib.sha256(base).hexdigest() == state[owner]
        require(same, "state", f"{name!r} makes other weights of {owner!r} than it records")
        return base

    def _stored(self, name: str, task: Task, number: int, within: range) -> list[bytes | None]:
        """Some neighbouring chunks of a shard: one request for the index, one for the frames."""
        shard = task.shards[number]
        if shard is None:
            return [None] * len(within)
        key = f"{self.key(name)}/delta/c/{number}"
        require(self.store.size(key) == shard.size, "object-size", f"{key} has another size")
        chunks, length = self.layout.chunks_per_shard, self.layout.chunk_length
        tail = self.store.part(key, range(shard.size - index_size(chunks), shard.size))
        index = read_index(tail, chunks, shard.size)
        after = index[self.layout.length // length - number * chunks :]
        require(after == [None] * len(after), "address", f"{key} has a frame after the last unit")
        wanted = index[within.start : within.stop]
        stored = [part for part in wanted if part is not None]
        if not stored:
            return [None] * len(within)
        start = stored[0].start
        data = self.store.part(key, range(start, stored[-1].stop))
        return [
            None if part is None else data[part.start - start : part.stop - start]
            for part in wanted
        ]


def _check_objects(others: set[str], extras: list[Tensor], objects: dict[str, Stored]) -> None:
    """A revision lists exactly the objects of its extras, and some others."""
    expected = others | ({"extras/zarr.json"} if extras else set())
    count = len(expected) + sum(chunk_count(extra) + 1 for extra in extras)
    # Counted before the keys are made: there may be no end of them.
    require(count == len(objects), "extra", f"{len(objects)} objects where {count} belong")
    for number, extra in enumerate(extras):
        expected |= {f"extras/{number}/{key}" for key in ("zarr.json", *chunk_keys(extra))}
    require(expected == set(objects), "extra", "objects and extras do not fit each other")
