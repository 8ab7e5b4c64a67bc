"""The base and the fine-tunes as jobs carry them; workers keep their weights open between jobs."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from tvbank.adapters import Adapter, Bound, MergedAdapter, bind, is_alone, open_adapter
from tvbank.artefacts import identify_fine_tune, open_fine_tune
from tvbank.bank.chains import ParentRecord
from tvbank.bank.documents import JSON, CatalogEntry, decode_layout
from tvbank.bank.encoder import Draft
from tvbank.bank.noting import note_heads
from tvbank.bank.starting import start_from, without_replaced
from tvbank.bank.task import Task
from tvbank.checkpoint import (
    Checkpoint,
    borrow_checkpoint,
    open_checkpoint,
)
from tvbank.compress import Budget, Compressor
from tvbank.errors import CheckpointError, TvbankError
from tvbank.folders import CONFIG
from tvbank.layout import Layout
from tvbank.storage import Storage
from tvbank.vector import BaseModel, FineTune, TaskVector, sort_tensors

#: Bytes of the base's units that a worker keeps, so that most bases are read and checked once.
_KEPT_BASE = 2**28

#: Fine-tunes that a worker keeps open; jobs of one task come together.
_KEPT_TUNED = 4


@dataclass(frozen=True)
class Base:
    """A base as every job carries it.

    Attributes:
        location: path or URL of its weights.
        layout: the layout document, compressed by zlib.
        sha256: digest of the layout document.
        identity: of the weights' files when the build was begun; empty before that.
        names: its names for some of the bank's.
    """

    location: str
    layout: bytes
    sha256: str
    identity: str = ""
    names: tuple[tuple[str, str], ...] = ()

    @staticmethod
    def of(location: str, layout: Layout, names: tuple[tuple[str, str], ...] = ()) -> Base:
        """Compress the layout document."""
        return Base(location, zlib.compress(layout.document), layout.sha256, names=names)

    def open(self) -> tuple[Layout, BaseModel]:
        """The layout, and the base's weights beside it.

        Raises:
            CheckpointError: the weights cannot be read here.
            BaseMismatchError: other names, shapes or element types; names the units.
        """
        return _open_base(self)


@dataclass(frozen=True)
class Parent:
    """The exact task whose state another one starts from, as every job of that one carries it.

    Attributes:
        storage: of the bank, which has it.
        entries: of the tasks that lead from the base to it, itself the last, by name.
    """

    storage: Storage
    entries: Mapping[str, CatalogEntry]

    @property
    def record(self) -> ParentRecord:
        """Its name and revision."""
        name, entry = list(self.entries.items())[-1]
        return ParentRecord(name, entry.revision)

    def task(self, layout: Layout) -> Task:
        """It, as the bank has it; nothing is read yet."""
        *above, (name, entry) = self.entries.items()
        return Task(self.storage, layout, name, entry, ancestors=dict(above))


@dataclass(frozen=True)
class Tuned:
    """A fine-tune as every job of its task carries it.

    Attributes:
        checkpoint: path or URL of its weights.
        base: what it was tuned from.
        compressor: what to keep of it.
        replace_mismatched: whether units of another shape than the base's are kept whole.
        identity: of the checkpoint when its task was begun; empty before that.
        given: what an artefact's files lack, by name.
        missing: units that it may lack: names and patterns.
        names: its names for some of the bank's.
        as_is: whether nobody chose the compressor: a LoRA adapter is kept without loss then.
        exact: whether the compressor is: of what an adapter adds, the base's element type is kept.
        parent: from whose state the entries lead, if not from the base's.
    """

    checkpoint: str
    base: Base
    compressor: Compressor = field(compare=False)  # its fine-tune is opened once for all
    replace_mismatched: bool
    identity: str = ""
    given: tuple[tuple[str, Any], ...] = ()
    missing: tuple[str, ...] = ()
    names: tuple[tuple[str, str], ...] = ()
    as_is: bool = False
    exact: bool = False
    parent: Parent | None = field(default=None, compare=False)

    @property
    def budget(self) -> Budget | None:
        """What a task of products may take; ``None`` if its factors stay as they are."""
        return self.compressor if isinstance(self.compressor, Budget) and not self.as_is else None

    @contextmanager
    def products(self) -> Iterator[Bound | None]:
        """The adapter that it is, if it is one and is kept as products; see ``Bank.add``.

        Raises:
            CheckpointError, UnitMismatchError, NonFiniteError, UsageError: as ``Bank.add``.
        """
        adapter = open_adapter(self.checkpoint)
        if adapter is None:
            yield None
            return
        with adapter:
            bound = _bound(self, adapter)
            stays = self.as_is or isinstance(self.compressor, Budget)
            yield bound if stays and bound.products is not None else None

    def with_heads_noted(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """Metadata that name the heads it lacks, if it is of another architecture than the base.

        Where it cannot be opened they stay as they are: its jobs say why.
        """
        patch = metadata.get(CONFIG)
        if not (isinstance(patch, Mapping) and "architectures" in patch):
            return metadata
        try:
            return note_heads(metadata, _open_tuned(self))
        except TvbankError:
            return metadata

    def identify(self) -> str:
        """A digest that changes when its files are written anew.

        Raises:
            CheckpointError, StorageError: it cannot be read.
        """
        adapter = None if is_alone(self.checkpoint) else open_adapter(self.checkpoint)
        if adapter is None:
            return identify_fine_tune(self.checkpoint, dict(self.given))
        with adapter:
            return adapter.identity()

    def sort(self) -> TaskVector:
        """What is stored of the fine-tune; see ``sort_tensors``.

        Raises:
            CheckpointError, BaseMismatchError, UnitMismatchError: as there.
        """
        vector = sort_tensors(
            _open_tuned(self), self.compressor.accepts, lossy=self.compressor.element == "float32",
            replace_mismatched=self.replace_mismatched,
        )  # fmt: skip
        if self.parent is None:
            return vector
        return without_replaced(vector, self.parent.task(self.base.open()[0]))

    def draft(
        self,
        pool: ThreadPoolExecutor,
        units: Iterable[str],
        whole: Sequence[str],
        metadata: JSON | None = None,
    ) -> Draft:
        """What a job writes of the fine-tune, as it was sorted; see ``Draft``."""
        layout, base = self.base.open()
        vector = TaskVector(_open_tuned(self), [layout.by_name[name] for name in units], whole)
        draft = Draft(layout, base, vector, self.compressor, pool, metadata or {})
        if self.parent is None:
            return draft
        return start_from(draft, base, self.parent.task(layout), self.parent.record)

    def check_identity(self) -> None:
        """Compare the checkpoint with what it was when its task was begun.

        Raises:
            CheckpointError: it was written anew meanwhile.
        """
        if self.identify() != self.identity:
            raise CheckpointError(
                f"{self.checkpoint!r} was written anew while its task was built: leave it alone, "
                "and build again"
            )


@lru_cache(1)
def _open_base(base: Base) -> tuple[Layout, BaseModel]:
    layout = decode_layout(zlib.decompress(base.layout))
    names = dict(base.names) or None
    return layout, BaseModel(layout, _open_weights(base), _KEPT_BASE, names=names)


@lru_cache(1)
def _open_weights(base: Base) -> Checkpoint:
    return open_checkpoint(base.location)


@lru_cache(_KEPT_TUNED)
def _open_tuned(tuned: Tuned) -> FineTune:
    layout, base = tuned.base.open()
    weights = _open_weights(tuned.base)
    if (adapter := open_adapter(tuned.checkpoint)) is not None:
        merged = MergedAdapter(
            _bound(tuned, adapter), tuned.base.location, rounded=tuned.exact,
            names=dict(tuned.base.names) or None,
        )  # fmt: skip
        return FineTune(layout, base, merged)
    checkpoint = open_fine_tune(tuned.checkpoint, weights, dict(tuned.given))
    names = dict(tuned.names) or None
    return FineTune(layout, base, checkpoint, names=names, missing=tuned.missing)


def _bound(tuned: Tuned, adapter: Adapter) -> Bound:
    """An adapter beside the layout of its base."""
    adapter.refuse_beside(given=tuned.given, missing=tuned.missing, names=tuned.names)
    location = tuned.base.location
    return bind(adapter, tuned.base.open()[0], lambda: borrow_checkpoint(location))
