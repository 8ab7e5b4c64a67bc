"""The bank: a mapping of task names to tasks, on any store."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, final

from tvbank._lazy import from_above
from tvbank._progress import Counter, Listener, listener
from tvbank._shown import html_table, human_bytes
from tvbank.artefacts import borrow_base
from tvbank.bank.ahead import all_cores, hashed_ahead
from tvbank.bank.checking import Fault
from tvbank.bank.contents import Contents
from tvbank.bank.documents import Catalog, decode_layout
from tvbank.bank.gc import GRACE, GcReport, collect_garbage
from tvbank.bank.making import make_bank, recall_base, refuse_occupied, remember_base
from tvbank.bank.publish import refuse_other_bank, remove_task
from tvbank.bank.router_names import NamedRouters
from tvbank.bank.snapshot import (
    check_shards,
    read_layout,
    read_root,
    read_root_if_changed,
)
from tvbank.bank.task import Task
from tvbank.bank.verify import verify
from tvbank.bank.versions import newest
from tvbank.checkpoint import CheckpointSource, borrow_checkpoint
from tvbank.errors import UsageError
from tvbank.folders import describe
from tvbank.layout import DEFAULT_CHUNK_LENGTH, MAX_CHUNK_LENGTH, build_layout
from tvbank.naming import Names
from tvbank.storage import Location, Storage, is_url, open_storage
from tvbank.vector import BaseModel, Missing

if TYPE_CHECKING:
    import torch

    from tvbank.bank.routers import StoredRouter
    from tvbank.compress import Compressor
    from tvbank.routing import Router


@final
class Bank(Mapping[str, Task]):
    """Compressed fine-tunes of one base, by name.

    A bank object sees one generation: the one it opened, or the one its own last change made. A
    pickled one sees that generation still, in whatever process it is unpickled, and knows the base
    if that is a path or a URL; nothing is read until it is asked for something.

    Examples:
        >>> bank = tvbank.open("bank")
        >>> sorted(bank)
        ['cats', 'dogs']
        >>> bank.verify()
        []

    Attributes:
        storage: the store that holds the bank.
        layout: the address space of the base.
        generation: how often the catalog had been replaced when this object last read it.
    """

    #: Under which the store holds the catalog ``_tagged``, if it has been read.
    _tag: str | None = None
    _tagged: Catalog | None = None

    def __init__(self, storage: Location, base: CheckpointSource | None = None) -> None:
        """Read the catalog and the layout: two requests.

        Args:
            storage: the bank's store or place.
            base: where the base's weights are; see ``base_source``.

        Raises:
            BankNotFoundError: there is no bank.
            CorruptionError, UnsupportedError: the documents are damaged, or need a newer tvbank.
        """
        self.storage: Storage = open_storage(storage)
        self._base = base
        self._catalog, self._tag = read_root(self.storage)
        self._tagged = self._catalog
        self.layout = read_layout(self.storage, self._catalog)

    @property
    def generation(self) -> int:
        """How often the catalog had been replaced when this object last read it."""
        return self._catalog.generation

    def refresh(self) -> bool:
        """See what others have published since.

        Cheap where nothing was: one conditional request to an object store, one look at a file on a
        disk. Tasks that were opened before stay what they were; a ``Switch`` goes on with the
        newer catalog at its next change.

        Returns:
            Whether the catalog is another than before.

        Raises:
            BaseMismatchError: another bank has taken this one's place.
            BankNotFoundError, CorruptionError, UnsupportedError, StorageError: as opening; this
                object still sees what it saw.
        """
        known = self._tag if self._tagged is self._catalog else None
        newer = read_root_if_changed(self.storage, known)
        if newer is None:
            return False
        catalog, tag = newer
        refuse_other_bank(self.storage, catalog, self.layout)
        check_shards(catalog, self.layout)
        if catalog.generation < self.generation:  # a cache may still have an older one
            return False
        changed = catalog != self._catalog
        self._catalog, self._tag, self._tagged = catalog, tag, catalog
        return changed

    def newest(self, prefix: str | None = None) -> str | None:
        """The newest version in this bank: an exact task, by its name.

        Versions are ordered by their names, in which numbers count as numbers: ``step-10`` comes
        after ``step-9``. So every reader agrees, whenever it looks, and a version that is published
        late does not pass for the newest.

        Args:
            prefix: what the names of versions begin with; by default the bank holds one series.

        Returns:
            The task's name; None while there is none.

        Raises:
            UsageError: several series of exact tasks, and no prefix.
        """
        return newest(self._catalog.tasks, prefix)

    @property
    def location(self) -> str:
        """Where the bank is."""
        return self.storage.location

    def add(
        self,
        name: str,
        checkpoint: CheckpointSource,
        compressor: Compressor | str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        base: CheckpointSource | None = None,
        replace: bool = False,
        replace_mismatched: bool = False,
        given: Mapping[str, Any] | None = None,
        missing: Missing = None,
        names: Names | None = None,
        parent: str | None = None,
        anchor_every: int | None = None,
        progress: Listener = None,
    ) -> Task:
        """Compress a fine-tune and publish it as a task; readers see it whole or not at all.

        Args:
            name: of the task.
            checkpoint: the fine-tuned weights: a state dict, a module, or the path of a file or
                folder; read unit by unit. Or an adapter, as PEFT writes it, or an artefact of
                another known format (see ``tvbank.artefacts``), which is laid over the base.
            compressor: what to keep, or its name; by default ``Budget()``: about 1 % of the base. A
                LoRA adapter is by default kept as it is, without loss; given ``Budget``, as
                products of few bits; given another compressor, what it adds is compressed. Other
                adapters are compressed as what they add.
            metadata: any JSON object to store with the task. What the configuration of the
                fine-tune (``config.json``, or a module's) says otherwise than the base's is added
                under ``config``, unless that is given.
            base: the base's weights; by default those that ``create`` was given.
            replace: whether to replace a task of that name.
            replace_mismatched: whether units of another shape than the base's are kept whole
                instead of refused.
            given: what an artefact's files lack, by name, such as ``{"scale": 0.02}``; the error
                that asks for it says which.
            missing: what of the base may stand for units that the fine-tune lacks: ``"base"`` for
                all of them, or names and patterns (``"*.pooler.*"``) of some. Heads of the base
                may be missing anyway, if nothing else is.
            names: the fine-tune's name for each of the bank's: a mapping, or a function. By default
                it is found out: wrappers, prefixes, what transformers renames, fuses and stacks.
            parent: an exact task: what is stored are the steps from its state, as from one
                checkpoint of a training to the next. The bank keeps it as long as it is needed.
            anchor_every: of so many tasks in a row, each the parent of the next, one starts from
                the base again; a chain has at most 64 ancestors.
            progress: a ``Progress``, or a function that is called with bytes done and in all.

        Returns:
            The task, as it can now be read from the bank; its ``remarks`` say what was found of
            names, and what of the base stands for what is missing.

        Raises:
            InvalidNameError, TaskExistsError, UsageError: the arguments.
            TaskNotFoundError, ConflictError: the parent is not there, or was replaced meanwhile.
            TaskNeededError: others start from the task that is to be replaced.
            CheckpointError, UnitMismatchError, NonFiniteError: the fine-tune.
            BaseMismatchError: the base; names the units that differ.
            StorageError: the store; the bank is what it was, unless the disk failed just after the
                new catalog took its place: then it has the task, whole.
        """
        from tvbank.bank.adding import Addition, add_task

        addition = Addition(
            name, compressor, {} if metadata is None else metadata, replace, replace_mismatched,
            given, missing, names, parent, anchor_every, progress,
        )  # fmt: skip
        contents = Contents(self.storage, self._catalog, self.layout)
        added = add_task(contents, addition, checkpoint, lambda: self.base_source(base))
        self._catalog, remarks = added
        task = self[name]
        task.remarks = remarks
        return task

    def remove(
        self,
        name: str,
        *,
        fold: bool = False,
        base: CheckpointSource | None = None,
        names: Names | None = None,
    ) -> None:
        """Take a task out of the catalog; ``gc`` frees its bytes.

        Args:
            name: of the task.
            fold: whether its steps go into those of the tasks that start from it, whose weights
                stay what they are, bit for bit; they get new revisions.
            base: the base's weights, to fold what was stored given them; by default those that
                ``create`` was given.
            names: what they call each of the bank's names, if no way is found; see ``export``.

        Raises:
            TaskNotFoundError: the bank has no task of that name.
            TaskNeededError: others start from it, and ``fold`` is false; names them.
        """
        self.storage.refuse_read_only()
        if fold:
            from tvbank.bank.folding import remove_folded  # imports numba, for the codec

            self._catalog = remove_folded(
                self.storage, self.layout, name, lambda: self.base_source(base), names
            )
        else:
            self._catalog = remove_task(self.storage, self.layout, name)

    def state_dict(
        self, task: str, base: CheckpointSource | None = None, *, names: Names | None = None
    ) -> dict[str, torch.Tensor]:
        """All weights of a task: base plus delta, and the units it keeps whole, heads among them.

        What ``tvbank.export`` would write, in memory; for ``model.load_state_dict``.

        Args:
            task: its name.
            base: the base's weights, checked against the bank's fingerprints while they are read;
                by default those that ``create`` was given.
            names: what they call each of the bank's names, if no way is found; see ``export``.

        Returns:
            Torch tensors by name, in the element types of the fine-tune, bit for bit what it was if
            the task is exact; tied names share one tensor.

        Raises:
            TaskNotFoundError: the bank has no such task.
            BaseMismatchError: another base; names the units that differ.
            UsageError: nothing is known of the base's weights.
            CorruptionError: what is stored is missing or damaged.
        """
        made = from_above("merging", "state_dict")(self, task, base=base, names=names)
        state: dict[str, torch.Tensor] = made
        return state

    @property
    def routers(self) -> NamedRouters:
        """The routers by name, in alphabetical order; each is read when it is asked for."""
        return NamedRouters(self.storage, self._catalog)

    def router(self, name: str, *, partial: bool = False) -> Router:
        """Read a router.

        Args:
            name: of the router.
            partial: whether to take one that knows tasks the bank no longer has.

        Raises:
            RouterNotFoundError: the bank has no router of that name.
            TaskNotFoundError: it knows tasks that the bank lacks; names them.
            CorruptionError: what is stored is missing or damaged.
        """
        return self.stored_router(name).load(partial=partial)

    def stored_router(self, name: str) -> StoredRouter:
        """What is stored of a router: its tasks, revision, size.

        Raises:
            RouterNotFoundError: the bank has no router of that name.
        """
        from tvbank.bank.routers import StoredRouter

        return StoredRouter(self.storage, self._catalog, name)

    def add_router(self, name: str, router: Router, *, replace: bool = False) -> None:
        """Publish a router; readers see it whole or not at all.

        Args:
            name: under the same rules as those of tasks.
            router: knows no other tasks than the bank.
            replace: whether to replace a router of that name.

        Raises:
            InvalidNameError, RouterExistsError: the name.
            TaskNotFoundError: the bank lacks tasks that the router knows; names them.
            StorageError: the store refused; the bank is what it was.
        """
        from tvbank.bank.routers import publish_router

        self._catalog = publish_router(self.storage, self.layout, name, router, replace=replace)

    def remove_router(self, name: str) -> None:
        """Take a router out of the catalog; ``gc`` frees its bytes.

        Raises:
            RouterNotFoundError: the bank has no router of that name.
        """
        from tvbank.bank.routers import remove_router

        self._catalog = remove_router(self.storage, self.layout, name)

    def verify(
        self,
        progress: Listener = None,
        base: CheckpointSource | None = None,
        *,
        prove: bool = False,
        names: Names | None = None,
    ) -> list[Fault]:
        """Read and check every byte that the newest catalog names.

        Args:
            progress: a ``Progress``, or a function that is called with bytes checked and in all.
            base: the base's weights, beside which tasks are decoded that were stored given them;
                without it their frames are checked by checksums and headers.
            prove: whether the weights that exact tasks make are compared with the digests that they
                record of them; the base's are then needed, by default where ``create`` found them.
            names: what they call each of the bank's names, if no way is found; see ``export``.

        Returns:
            The faults; an empty list if the bank is sound.

        Raises:
            BaseMismatchError: another base; names the units that differ.
        """
        if base is None and not prove:
            return verify(self.storage, progress)
        with borrow_checkpoint(self.base_source(base)) as checkpoint:
            weights = BaseModel(self.layout, checkpoint, names=names)
            return verify(self.storage, progress, weights, prove)

    def gc(self, grace: float = GRACE) -> GcReport:
        """Remove what the newest catalog does not name: removed and replaced tasks, debris.

        Args:
            grace: seconds that it stays, for readers that opened the bank before and, in a store
                without locks, for writers that are about to publish it.

        Returns:
            How many objects and bytes were removed, and how many are still too young.
        """
        return collect_garbage(self.storage, grace, self.layout)

    def base_source(self, base: CheckpointSource | None = None) -> CheckpointSource:
        """Where to read the base's weights: what is given, else what ``create`` was given.

        Raises:
            UsageError: nothing is known of them, or they are no longer there.
        """
        if base is not None:
            return base
        return self._base if self._base is not None else recall_base(self.storage)

    def __getitem__(self, name: str) -> Task:
        return Contents(self.storage, self._catalog, self.layout).task(name)

    def __contains__(self, name: object) -> bool:
        return name in self._catalog.tasks

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._catalog.tasks))

    def __len__(self) -> int:
        return len(self._catalog.tasks)

    def __reduce__(self) -> tuple[object, ...]:
        place = _place(self._base)
        return _unpickled, (self.storage, place, self._catalog, self.layout.document)

    def _repr_html_(self) -> str:
        """What a notebook shows; nothing is read for it."""
        rows = [
            (
                name, describe(task.compressor), human_bytes(task.stored_bytes),
                f"{task.bits_per_parameter:.3f}", task.parent or "",
            )
            for name, task in self.items()
        ]  # fmt: skip
        facts = {"tasks": len(self), "routers": len(self.routers), "generation": self.generation}
        columns = ("task", "compressor", "stored", "bits/param", "parent")
        return html_table(f"Bank {self.location}", facts, columns, rows)

    def __repr__(self) -> str:
        return f"Bank({self.location!r}, {len(self)} tasks, generation {self.generation})"


def _place(base: CheckpointSource | None) -> str | None:
    """Where a base is, for another process; ``None`` for one that is only in this one's memory."""
    if not isinstance(base, str | os.PathLike):
        return None
    place = os.fspath(base)
    return place if is_url(place) else os.path.abspath(place)


def _unpickled(storage: Storage, base: str | None, catalog: Catalog, layout: bytes) -> Bank:
    bank = Bank.__new__(Bank)
    bank.storage, bank._base, bank._catalog = storage, base, catalog
    bank.layout = decode_layout(layout)
    return bank


def create(
    path: Location,
    base: CheckpointSource,
    *,
    chunk_length: int = DEFAULT_CHUNK_LENGTH,
    progress: Listener = None,
) -> Bank:
    """Make an empty bank for the fine-tunes of one base.

    Args:
        path: where; a folder that does not exist yet or is empty, or a store.
        base: the base's weights: a state dict, a module, or the path of a file or folder. They
            are read once and fingerprinted, not copied.
        chunk_length: entries of one chunk, 1 to 2**24; the finest grain of random access.
        progress: a ``Progress``, or a function that is called with bytes done and in all.

    Raises:
        BankExistsError: there is a bank, or something else, at that place.
        CheckpointError: the base cannot be read.
        StorageError: the store refused.
    """
    if not 1 <= chunk_length <= MAX_CHUNK_LENGTH:
        raise UsageError(f"chunk_length must be 1 to {MAX_CHUNK_LENGTH}, got {chunk_length}")
    chunk_length = int(chunk_length)  # numpy's integers are no JSON
    storage = open_storage(path)
    refuse_occupied(storage)
    with borrow_base(base) as checkpoint, all_cores() as pool:
        total = sum(spec.nbytes for spec in checkpoint.tensors.values())
        advance = Counter(listener(progress), total).advance
        layout = build_layout(checkpoint, chunk_length, advance, partial(hashed_ahead, pool))
    make_bank(storage, layout.document, lambda: remember_base(storage, base))
    return Bank(storage, base)


def open(path: Location) -> Bank:
    """Open a bank; two small documents are read.

    Raises:
        BankNotFoundError: there is no bank at that place.
        CorruptionError, UnsupportedError: the bank is damaged, or needs a newer tvbank.
    """
    return Bank(open_storage(path))


def as_bank(bank: Bank | Location) -> Bank:
    """An open bank as it is; a place is opened.

    Raises:
        BankNotFoundError, CorruptionError, UnsupportedError: as ``open``.
        UsageError: neither a bank nor a place.
    """
    return bank if isinstance(bank, Bank) else open(bank)
