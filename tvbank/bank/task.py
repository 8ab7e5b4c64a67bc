"""What users hold: a task is a mapping of unit names to units, read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, TypeVar, final

import numpy as np
from numpy.typing import NDArray

from tvbank._lazy import from_above
from tvbank._shown import html_table, human_bytes
from tvbank.bank.ahead import all_cores
from tvbank.bank.documents import (
    CatalogEntry,
    Revision,
    decode_layout,
    documents_first,
)
from tvbank.bank.entries import Sparse, fill_all, join_all
from tvbank.bank.extras import Extras
from tvbank.bank.frames import StoredFrame, TaskFrames
from tvbank.bank.lineage import (
    ChainedFrame,
    chained_frames,
    decode_chained,
    weights_after,
)
from tvbank.bank.making import recall_base
from tvbank.bank.product_records import FEATURE
from tvbank.bank.products import Products
from tvbank.bank.reader import DeltaReader
from tvbank.bank.revision import read_revision
from tvbank.bank.snapshot import read_stored
from tvbank.bank.unit import Unit
from tvbank.checkpoint import CheckpointSource, borrow_checkpoint
from tvbank.coding.header import GIVEN_BASE, FrameHeader
from tvbank.errors import UnitNotFoundError
from tvbank.folders import describe
from tvbank.layout import Layout, UnitRecord
from tvbank.naming import Names
from tvbank.storage import Storage
from tvbank.vector import BaseModel

_Read = TypeVar("_Read")


@final
class Task(Mapping[str, Unit]):
    """One task of a bank: its units by name, in the order of the base.

    Of a task that was added with ``parent=``, units and frames are those of the whole chain: steps
    that lead from the base to it. ``own_steps`` is what itself stores.

    Attributes:
        name: of the task.
        remarks: what ``add`` found worth knowing of the fine-tune's names, and of what it lacks;
            it is not stored.
    """

    remarks: tuple[str, ...] = ()

    def __init__(
        self,
        storage: Storage,
        layout: Layout,
        name: str,
        entry: CatalogEntry,
        *,
        by_shard: bool = False,
        ancestors: Mapping[str, CatalogEntry] | None = None,
    ) -> None:
        """Read nothing yet.

        Args:
            storage: holds the bank.
            layout: of the bank.
            name: of the task.
            entry: what the catalog says of it.
            by_shard: whether whole shards are read.
            ancestors: what the catalog says of the tasks that it starts from, over each other;
                the one that starts from the base first.
        """
        self.name = name
        self._storage, self._layout, self._entry = storage, layout, entry
        self._by_shard, self._ancestors = by_shard, dict(ancestors or {})

    @property
    def parent(self) -> str | None:
        """The exact task from whose state this one's steps lead; None if that is the base's."""
        return self._entry.parent.task if self._entry.parent else None

    @cached_property
    def lineage(self) -> tuple[Task, ...]:
        """The tasks that lead from the base to this one, each as ``own_steps``, itself the last."""
        own = {**self._ancestors, self.name: self._entry}
        given = self._storage, self._layout
        return tuple(
            Task(*given, name, entry, by_shard=self._by_shard) for name, entry in own.items()
        )

    def since(self, count: int) -> Task:
        """The same task, as if the base were the state after the first ``count`` of ``lineage``."""
        return Task(
            self._storage, self._layout, self.name, self._entry, by_shard=self._by_shard,
            ancestors=dict(list(self._ancestors.items())[count:]),
        )  # fmt: skip

    def own_steps(self) -> Task:
        """The task by itself, as if its parent were the base: what it stores, not the chain."""
        return self.lineage[-1]

    @property
    def revision(self) -> str:
        """SHA-256 of the revision document, by which the revision is named."""
        return self._entry.revision

    @property
    def element(self) -> str:
        """``float32`` for differences, ``int32`` for the steps of an exact task."""
        return self._entry.element

    @property
    def compressor(self) -> dict[str, Any]:
        """Name and parameters of the compressor that made the task."""
        return dict(self._entry.compressor)

    @property
    def metadata(self) -> dict[str, Any]:
        """The JSON that was given when the task was added."""
        return dict(self.document.metadata)

    @property
    def nonzeros(self) -> int:
        """Entries that the task itself stores, of all units; all entries of products count."""
        return self._entry.nonzeros

    @property
    def stored_bytes(self) -> int:
        """Size of all objects of this revision, in bytes."""
        return self._entry.stored_bytes

    @property
    def bits_per_parameter(self) -> float:
        """Stored bits over all parameters that the task covers, extras included."""
        parameters = self._entry.parameters
        return 8 * self.stored_bytes / parameters if parameters else 0.0

    @cached_property
    def document(self) -> Revision:
        """The revision document.

        Raises:
            CorruptionError: it is missing, damaged, or contradicts the catalog.
        """
        return read_revision(self._storage, self._layout, self.name, self._entry)

    @cached_property
    def extras(self) -> Extras:
        """Units kept whole, by name: heads the base lacks, changed buffers, replaced units."""
        document = self.document
        return Extras(self._storage, self._folder, self.name, document.extras, document.objects)

    @cached_property
    def products(self) -> Products:
        """Units whose entries are products of two thin matrices, as an adapter has them, by name.

        Raises:
            CorruptionError: the revision document is missing or damaged.
        """
        revision = self.document if FEATURE in self._entry.features else _NO_PRODUCTS
        return Products(
            self._storage, self._layout, self.name, self._folder, revision, by_shard=self._by_shard
        )

    def objects(self) -> Iterator[tuple[str, bytes]]:
        """All stored objects of the revision but its document: key relative to it, bytes, checked.

        Raises:
            CorruptionError: one is missing or damaged.
        """
        records = dict(documents_first(self.document.objects))
        shards = enumerate(self._entry.shards)
        records |= {f"delta/c/{number}": shard for number, shard in shards if shard is not None}
        for key, record in records.items():
            yield key, read_stored(self._storage, f"{self._folder}/{key}", record, self.name)

    def to_dense(
        self, base: CheckpointSource | None = None, *, names: Names | None = None
    ) -> dict[str, NDArray[Any]]:
        """All entries of all units, by name, each in its shape; decoded on all cores.

        Args:
            base: the base's weights, for a task that ``needs_base``.
            names: what they call each of the bank's names, if no way is found; see ``export``.

        Raises:
            CorruptionError: what is stored is missing or damaged; says task, unit, byte range.
            BaseNeededError: the task needs the base, and there is none.
            BaseMismatchError: another base; names the units that differ.
        """
        if self.needs_base and base is not None:
            return dict(self._beside(base, names, Unit.to_dense))
        if self._ancestors:
            with all_cores() as pool:
                arrays = pool.map(lambda unit: unit.to_dense(), self.by_shard().values())
                return dict(zip(self, arrays, strict=True))
        with all_cores() as pool:
            task = self.by_shard()
            dense = fill_all(task._reader, list(self._units.values()), pool)
            for name, product in task.products.items():
                dense[name][...] = product.to_dense()
            return dense

    def to_sparse(
        self, base: CheckpointSource | None = None, *, names: Names | None = None
    ) -> dict[str, Sparse]:
        """Positions and values of the entries that are not zero, by unit; see ``Unit.to_sparse``.

        Args:
            base: the base's weights, for a task that ``needs_base``.
            names: what they call each of the bank's names, if no way is found; see ``export``.

        Raises:
            CorruptionError: what is stored is missing or damaged; says task, unit, byte range.
            BaseNeededError: the task needs the base, and there is none.
            BaseMismatchError: another base; names the units that differ.
        """
        if self.needs_base and base is not None:
            return dict(self._beside(base, names, Unit.to_sparse))
        if self._ancestors:
            with all_cores() as pool:
                pairs = pool.map(lambda unit: unit.to_sparse(), self.by_shard().values())
                return dict(zip(self, pairs, strict=True))
        with all_cores() as pool:
            task = self.by_shard()
            sparse = join_all(task._reader, list(self._units.values()), pool)
            return sparse | {name: each.to_sparse() for name, each in task.products.items()}

    def _beside(
        self,
        base: CheckpointSource,
        names: Names | None,
        read: Callable[[Unit, NDArray[Any]], _Read],
    ) -> Iterator[tuple[str, _Read]]:
        """What is read of each unit beside its weights in the base."""
        with borrow_checkpoint(base) as checkpoint:
            model = BaseModel(self._layout, checkpoint, names=names)
            for name, unit in self.by_shard().items():
                yield name, read(unit, model.read_unchecked(name))

    def by_shard(self) -> Task:
        """The same task, read shard by shard: fewer requests where all of its units are read."""
        return Task(
            self._storage, self._layout, self.name, self._entry, by_shard=True,
            ancestors=self._ancestors,
        )  # fmt: skip

    def all_frames(self) -> TaskFrames:
        """The stored frames of all units at once, checked and laid out for the compiled loops.

        Units that are products have none.

        Of a chain those of the task itself: see ``own_steps``.

        Raises:
            CorruptionError: what is stored is missing or damaged; says task, unit, byte range.
        """
        reader = self.by_shard()._reader
        with all_cores() as pool, reader.ahead(pool):
            return reader.all_frames()

    def patches(
        self, base: CheckpointSource | None = None, *, names: Names | None = None
    ) -> Iterator[Any]:
        """What the task changes of its base, as absolute values; see ``tvbank.patches``.

        Args:
            base: the base's weights; by default where ``create`` found them.
            names: what they call each of the bank's names, if no way is found; see ``export``.

        Yields:
            Name, shape, element type, flat indices and values, as torch tensors.

        Raises:
            BaseMismatchError: another base; names the units that differ.
            UsageError: nothing is known of the base's weights.
            CorruptionError: what is stored is missing or damaged.
        """
        source = recall_base(self._storage) if base is None else base
        patches_of = from_above("updates", "patches_of")
        made: Iterator[Any] = patches_of(self, self._layout, source, names=names)
        return made

    def frames(self, unit: str) -> Iterator[StoredFrame]:
        """The checked frames of a unit, undecoded; those of a product are made of its factors.

        Raises:
            UnitNotFoundError: the task has no such unit.
            CorruptionError: what is stored is missing or damaged; says task, unit, byte range.
        """
        record = self._unit(unit)
        if self._ancestors:
            return chained_frames(self._readers, record)
        if record.name in self.products:
            return self.products.frames(record.name)
        return self._reader.frames(record)

    def header(self, frame: StoredFrame) -> FrameHeader:
        """What a frame says of itself: its encodings and number of non-zeros.

        Raises:
            CorruptionError: the header violates the format; says task, unit, byte range.
        """
        return self._reader.header(frame)

    @property
    def needs_base(self) -> bool:
        """Whether entries can be read only beside the base's weights (``BaseNeededError``)."""
        entries = (*self._ancestors.values(), self._entry)
        return any(GIVEN_BASE in entry.features for entry in entries)

    def decode(
        self, frame: StoredFrame, base: NDArray[Any] | None = None
    ) -> tuple[NDArray[np.uint32], NDArray[Any]]:
        """Positions in a frame's chunk and the entries there; from any thread.

        Args:
            frame: one of ``frames``.
            base: the base's weights of the chunk, [n], for a task that ``needs_base``.

        Raises:
            CorruptionError: the frame violates the format; says task, unit, byte range.
            BaseNeededError: the task needs the base, and there is none.
        """
        if isinstance(frame, ChainedFrame):
            return decode_chained(frame, base)
        return self._reader.decode(frame, base)

    def __getitem__(self, name: str) -> Unit:
        lineage = self._readers if self._ancestors else ()
        return Unit(self, self._reader, self._unit(name), lineage)

    def after(
        self, frame: StoredFrame, block: NDArray[Any], *, in_place: bool = False
    ) -> NDArray[Any]:
        """The weights of a frame's chunk after this exact task; from any thread.

        Args:
            frame: one of ``frames``.
            block: the base's weights of the chunk, in its own element type, [n].
            in_place: whether ``block`` itself becomes them; contiguous.

        Raises:
            CorruptionError: the frame violates the format; says task, unit, byte range.
        """
        links = frame.links if isinstance(frame, ChainedFrame) else ((self._reader, frame),)
        return weights_after(block, links, in_place=in_place)

    @property
    def chunk_length(self) -> int:
        """Entries of a chunk."""
        return self._layout.chunk_length

    @cached_property
    def _reader(self) -> DeltaReader:
        return DeltaReader(
            self._storage, self._layout, self.name, self._entry, by_shard=self._by_shard
        )

    @cached_property
    def _readers(self) -> tuple[DeltaReader, ...]:
        """Of the whole lineage, in its order."""
        return tuple(task._reader for task in self.lineage)

    def _unit(self, name: str) -> UnitRecord:
        try:
            return self._units[self._layout.tied.get(name, name)]
        except KeyError:
            hint = "list(task) and list(task.extras) name what it has"
            raise UnitNotFoundError(f"task {self.name!r} has no unit {name!r}; {hint}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._units)

    def __len__(self) -> int:
        return len(self._units)

    def __reduce__(self) -> tuple[object, ...]:
        given = (self._storage, self._layout.document, self.name, self._entry, self._by_shard)
        return _unpickled, (*given, self._ancestors)

    def _repr_html_(self) -> str:
        """What a notebook shows; nothing is read for it."""
        facts = {
            "compressor": describe(self.compressor),
            "stored": human_bytes(self.stored_bytes),
            "bits per parameter": f"{self.bits_per_parameter:.3f}",
            "steps over": self.parent or "",
            "revision": self.revision[:12],
        }
        rows = [(name, "x".join(map(str, unit.shape))) for name, unit in self._units.items()]
        return html_table(f"Task {self.name}", facts, ("unit", "shape"), rows)

    def __repr__(self) -> str:
        return f"Task({self.name!r}, {self.compressor}, {self.stored_bytes} bytes)"

    @cached_property
    def _units(self) -> dict[str, UnitRecord]:
        """The layout's units, less those that this task replaces."""
        replaced = set(self._entry.replaced)
        return {n: r for n, r in self._layout.by_name.items() if n not in replaced}

    @property
    def _folder(self) -> str:
        return f"tasks/{self.name}/{self.revision}"


def _unpickled(
    storage: Storage,
    layout: bytes,
    name: str,
    entry: CatalogEntry,
    by_shard: bool,
    ancestors: Mapping[str, CatalogEntry],
) -> Task:
    return Task(storage, decode_layout(layout), name, entry, by_shard=by_shard, ancestors=ancestors)


#: The products of a task that needs no feature for them: nothing has to be read.
_NO_PRODUCTS = Revision(
    layout="", element="float32", shards=(), nonzeros=0, objects={}, extras=(), compressor={},
    metadata={},
)  # fmt: skip
