"""Adding a task: a fine-tune, an artefact or an adapter is compressed and published.

Everything that can be refused is refused before any work; readers see the task whole or not at all.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from tvbank._progress import Counter, Listener, listener
from tvbank.artefacts import borrow_fine_tune
from tvbank.bank.ahead import all_cores
from tvbank.bank.contents import Contents
from tvbank.bank.documents import Catalog
from tvbank.bank.encoder import Draft
from tvbank.bank.names import check_metadata, check_task_name
from tvbank.bank.noting import note_config, note_heads
from tvbank.bank.publish import publish_task, refuse_existing
from tvbank.bank.snapshot import find_task, read_root, read_root_to_change, refuse_later_minor
from tvbank.bank.starting import parent_record, start_from
from tvbank.bank.writer import Spool, prepare
from tvbank.checkpoint import CheckpointSource, borrow_checkpoint
from tvbank.compress import Budget, Exact
from tvbank.compress.registry import COMPRESSORS
from tvbank.errors import TaskExistsError, UsageError
from tvbank.naming import Names
from tvbank.vector import FineTune, Missing, base_beside, sort_tensors

if TYPE_CHECKING:
    from tvbank.adapters import Adapter
    from tvbank.bank.chains import ParentRecord
    from tvbank.compress import Compressor

_Compressor = TypeVar("_Compressor", bound="Compressor")

#: Gives the place of the base's weights; asked only when they are needed.
Base = Callable[[], CheckpointSource]


@dataclass(frozen=True)
class Addition:
    """What is to be added, and how: the arguments of ``Bank.add``, which explains them.

    Attributes:
        hashed: SHA-256 of the new weights of every unit, from a caller that has just made the bank
            and read both checkpoints for it: then neither is hashed again.
    """

    name: str
    compressor: Compressor | str | None
    metadata: Mapping[str, Any]
    replace: bool = False
    replace_mismatched: bool = False
    given: Mapping[str, Any] | None = None
    missing: Missing = None
    names: Names | None = None
    parent: str | None = None
    anchor_every: int | None = None
    progress: Listener = None
    hashed: Mapping[str, str] | None = None


def add_task(
    bank: Contents, wanted: Addition, checkpoint: CheckpointSource, base: Base
) -> tuple[Catalog, tuple[str, ...]]:
    """Compress a fine-tune and publish it.

    Args:
        bank: as it was last read.
        wanted: what is to be added.
        checkpoint: the fine-tune, the adapter or the artefact.
        base: gives the base's weights.

    Returns:
        catalog: that names the task.
        remarks: what was found of the fine-tune's names, and of what it lacks.

    Raises:
        TvbankError: see ``Bank.add``.
    """
    from tvbank.adapters import open_adapter

    check_task_name(wanted.name)
    bank.storage.refuse_read_only()
    _refuse_existing(bank, wanted)
    adapter = open_adapter(checkpoint)
    if adapter is None:
        return _add_weights(bank, wanted, checkpoint, base)
    with adapter:
        return _add_adapter(bank, wanted, adapter, checkpoint, base)


def _add_weights(
    bank: Contents, wanted: Addition, checkpoint: CheckpointSource, base: Base
) -> tuple[Catalog, tuple[str, ...]]:
    if wanted.compressor is None and wanted.parent is not None:
        compressor: Compressor = Exact()
    else:
        compressor = COMPRESSORS.resolve(wanted.compressor)
    metadata = check_metadata(wanted.metadata)
    source = base()
    metadata = note_config(metadata, source, checkpoint)
    bank, start = _start(bank, wanted, compressor)
    compressor = _settled(compressor, bank, wanted, checkpoint, source)
    with (
        borrow_checkpoint(source) as base_checkpoint,
        borrow_fine_tune(checkpoint, base_checkpoint, wanted.given) as tuned,
        Spool() as spool,
        all_cores() as pool,
    ):
        trusted = wanted.hashed is not None
        model = base_beside(bank.layout, base_checkpoint, wanted.names, trusted=trusted)
        fine_tune = FineTune(bank.layout, model, tuned, names=wanted.names, missing=wanted.missing)
        metadata = note_heads(metadata, fine_tune)
        vector = sort_tensors(
            fine_tune, compressor.accepts,
            lossy=compressor.element == "float32", replace_mismatched=wanted.replace_mismatched,
        )  # fmt: skip
        if vector.remark:
            warnings.warn(vector.remark, UserWarning, stacklevel=4)
        total = sum(spec.nbytes for spec in tuned.tensors.values())
        draft = Draft(
            bank.layout, model, vector, compressor, pool, metadata,
            counter=Counter(listener(wanted.progress), total), hashed=wanted.hashed or {},
        )  # fmt: skip
        if start is not None:
            draft = start_from(draft, model, bank.task(start.task), start)
        prepared = prepare(draft, spool)
        catalog = publish_task(
            bank.storage, bank.layout, wanted.name, prepared, replace=wanted.replace
        )
    return catalog, (*fine_tune.remarks, *compressor.remarks)


def _add_adapter(
    bank: Contents, wanted: Addition, adapter: Adapter, checkpoint: CheckpointSource, base: Base
) -> tuple[Catalog, tuple[str, ...]]:
    """Its products as they are; else base and adapter as one fine-tune."""
    from tvbank.adapters import MergedAdapter, bind
    from tvbank.bank.adapting import prepare_products

    adapter.refuse_beside(given=wanted.given, missing=wanted.missing, names=wanted.names)
    bound = bind(adapter, bank.layout, lambda: borrow_checkpoint(base()))
    chosen = None if wanted.compressor is None else COMPRESSORS.resolve(wanted.compressor)
    stays = chosen is None or isinstance(chosen, Budget)
    if stays and wanted.parent is None and bound.products is not None:
        metadata = check_metadata(wanted.metadata)
        counter = Counter(listener(wanted.progress), adapter.nbytes)
        budget = chosen if isinstance(chosen, Budget) else None
        if budget is not None and budget.tolerance is not None:
            budget = _settled(budget, bank, wanted, checkpoint, base())
        with Spool() as spool, all_cores() as pool:
            prepared = prepare_products(
                bank.layout, bound, spool, metadata, counter, budget, pool.map
            )
            catalog = publish_task(
                bank.storage, bank.layout, wanted.name, prepared, replace=wanted.replace
            )
        return catalog, (*adapter.remarks, *(budget.remarks if budget else ()))
    exact = wanted.parent is not None if chosen is None else chosen.element == "int32"
    with MergedAdapter(bound, base(), rounded=exact) as merged:
        return _add_weights(bank, wanted, merged, base)


def _settled(
    compressor: _Compressor,
    bank: Contents,
    wanted: Addition,
    checkpoint: CheckpointSource,
    base: CheckpointSource,
) -> _Compressor:
    """The compressor, at the size that its tolerance allows if it has one."""
    options = {
        "given": wanted.given, "missing": wanted.missing, "names": wanted.names,
        "replace_mismatched": wanted.replace_mismatched,
    }  # fmt: skip
    return compressor.settled(
        base, checkpoint, chunk_length=bank.layout.chunk_length, options=options,
        progress=wanted.progress,
    )  # fmt: skip


def _start(
    bank: Contents, wanted: Addition, compressor: Compressor
) -> tuple[Contents, ParentRecord | None]:
    """What the task starts from: its parent, or the base; and a bank that has the parent."""
    name, parent = wanted.name, wanted.parent
    if parent is None:
        if wanted.anchor_every is not None:
            raise UsageError("anchor_every is of chains: give a parent, too")
        return bank, None
    if compressor.element != "int32":
        raise UsageError(
            f"only an exact task can be steps from the state of another ({parent!r}): give "
            "compressor=Exact() (--method exact), or no parent"
        )
    if name == parent:
        raise UsageError(f"task {name!r} cannot be its own parent")
    if parent not in bank.catalog.tasks:  # unless it was published since
        bank = replace(bank, catalog=read_root(bank.storage)[0])
    find_task(bank.storage, bank.catalog.tasks, parent)
    return bank, parent_record(bank.catalog.tasks, parent, wanted.anchor_every)


def _refuse_existing(bank: Contents, wanted: Addition) -> None:
    """Refuse before any work what publishing would refuse; only a doubt asks the store."""
    refuse_later_minor(bank.storage, bank.catalog)
    try:
        refuse_existing(bank.catalog.tasks, wanted.name, replace=wanted.replace)
    except TaskExistsError:  # unless it was removed since
        tasks = read_root_to_change(bank.storage)[0].tasks
        refuse_existing(tasks, wanted.name, replace=wanted.replace)
