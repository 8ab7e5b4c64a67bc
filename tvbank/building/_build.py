"""Building: the tasks of a manifest, spread over workers by their units, published one by one."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tvbank._progress import Listener, listener
from tvbank.bank.chains import ParentRecord
from tvbank.bank.contents import Contents
from tvbank.bank.documents import Catalog, CatalogEntry
from tvbank.bank.making import make_bank, recall_base, refuse_occupied, remember_base
from tvbank.bank.noting import note_config
from tvbank.bank.outputs import refuse_within
from tvbank.bank.publish import refuse_existing
from tvbank.bank.snapshot import read_layout, read_root_to_change
from tvbank.building._director import BuildReport, Director
from tvbank.building._jobs import (
    CheckBase,
    Failed,
    Job,
    MeasureBase,
    Measured,
    Surveyed,
    unpack,
)
from tvbank.building._parents import not_built, parents_of
from tvbank.building._sources import Base
from tvbank.building._task import BuiltTask, WorkFolder
from tvbank.building._workers import LocalWorkers, Lost, Workers
from tvbank.building.manifest import Manifest, PlannedTask, parents_first, read_manifest
from tvbank.errors import BankNotFoundError, StorageError, TaskExistsError, UsageError
from tvbank.layout import DEFAULT_CHUNK_LENGTH
from tvbank.storage import Storage, open_storage

_Found = TypeVar("_Found", Measured, Surveyed)

#: What ``build`` takes.
ManifestSource = Manifest | Mapping[str, Any] | str | os.PathLike[str]


def build(
    manifest: ManifestSource,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    work: str | os.PathLike[str] | None = None,
    progress: Listener = None,
) -> BuildReport:
    """Build the tasks of a manifest into its bank, on many workers.

    Each task is published once all of its units are encoded, whole, as ``Bank.add`` would have done
    it: same content, same bytes. What is in the bank already with the same content stays; see
    spec/decisions, "Building on many workers", for how that is known. Where it is, the bank's
    objects are read only of tasks with ``replace``, and what is damaged of them is repaired.
    Workers read the base and the fine-tunes by range where they are; what passes through this
    process are frames.

    A build that was killed goes on where it was when it is started again: finished jobs are in the
    work folder.

    Args:
        manifest: path of a manifest, or what it would hold (see ``read_manifest``).
        scheduler: address of a dask.distributed scheduler, such as ``tcp://host:8786``; without
            one, processes on this machine do the work.
        workers: how many processes; by default one a core.
        work: folder for what is not published yet; by default the manifest's path with ``.work``
            appended, or none that outlives the build if the manifest is no file.
        progress: a ``Progress``, which is shown tasks and units; or a function that is called with
            tasks done and in all.

    Returns:
        What was built, what was there already, and what failed: a fine-tune that cannot be built
        does not hold up the others.

    Raises:
        UsageError: the manifest or the arguments.
        CheckpointError, BaseMismatchError: the base.
        BankNotFoundError: there is no bank, and no base to make one of.
        StorageError: the bank's store, the disk of the work folder or the scheduler; what was
            published stays, what was encoded is kept.
    """
    start = time.monotonic()
    plan = _read(manifest)
    storage = open_storage(plan.bank)
    storage.refuse_read_only()
    if work is not None:
        refuse_within(storage, Path(work) / "notes")
    with _work_folder(plan, work) as folder, _hire(scheduler, workers) as hired:
        folder.sweep()
        catalog = _open_or_make(storage, plan, hired)
        layout = read_layout(storage, catalog)
        location = plan.base if plan.base is not None else recall_base(storage)
        base = _checked(Base.of(location, layout, plan.base_names), hired)
        director = Director(
            storage, layout, catalog.tasks, hired, folder, listener(progress, "tasks")
        )
        contents = Contents(storage, catalog, layout)
        parents: dict[str, str] = {}
        tasks: list[tuple[BuiltTask, str]] = []
        failed: dict[str, str] = {}
        for task, known, refusal in _compared(_noted(plan, location, base), base, catalog, folder):
            if task.parent is not None:
                parents[task.plan.name] = task.parent
            if refusal:
                failed[task.plan.name] = refusal
            elif known and task.plan.replace and not contents.is_sound(task.plan.name):
                tasks.append((task, ""))  # built again, and what is damaged of it repaired
            else:
                tasks.append((task, known))
        director.run(tasks, failed)
        if not failed:
            folder.tidy()
    order = [planned.name for planned in plan.tasks]
    return BuildReport(
        location=storage.location,
        built=tuple(name for name in order if name in director.built),
        present=tuple(name for name in order if name in director.present),
        failed={name: failed[name] for name in order if name in failed},
        units=director.units,
        resumed=director.resumed,
        seconds=time.monotonic() - start,
        repaired=director.repaired,
        remarks={name: director.remarks[name] for name in order if name in director.remarks},
        parents={name: parent for name, parent in parents.items() if name not in failed},
    )


def preview(
    manifest: ManifestSource, *, work: str | os.PathLike[str] | None = None
) -> dict[str, str]:
    """What ``build`` would do with each task, as far as the bank and the work folder show.

    Raises:
        UsageError: the manifest.
        CorruptionError, UnsupportedError, StorageError: the bank.
    """
    plan = _read(manifest)
    storage = open_storage(plan.bank)
    try:
        catalog = read_root_to_change(storage)[0]
    except BankNotFoundError:
        if plan.base is None:
            raise
        return _in_a_new_bank(plan)
    base = Base("", b"", catalog.layout.sha256)
    location = plan.base
    if location is None:
        with suppress(UsageError):
            location = recall_base(storage)
    if location is not None:
        whole = Base.of(location, read_layout(storage, catalog), plan.base_names)
        plan = _noted(plan, location, whole)
    with _work_folder(plan, work) as folder:
        return {
            task.plan.name: f"refuse: {refusal}"
            if refusal
            else _action(task.plan, task.parent, catalog.tasks, known=bool(known))
            for task, known, refusal in _compared(plan, base, catalog, folder)
        }


def _in_a_new_bank(plan: Manifest) -> dict[str, str]:
    parents, refused = parents_of(plan.tasks, {})
    return {
        planned.name: f"refuse: {refused[planned.name]}"
        if planned.name in refused
        else f"build, in a new bank{_steps_from(parents.get(planned.name))}"
        for planned in plan.tasks
    }


def _steps_from(parent: str | None) -> str:
    return "" if parent is None else f", as steps from {parent!r}"


def _action(
    planned: PlannedTask, parent: str | None, tasks: Mapping[str, CatalogEntry], *, known: bool
) -> str:
    if known:
        return "nothing, unless its checkpoint has changed"
    if planned.name not in tasks:
        return f"build{_steps_from(parent)}"
    return "replace" if planned.replace else "build, and compare with what is there"


def _noted(plan: Manifest, location: str, base: Base) -> Manifest:
    """A manifest whose tasks note what they are otherwise than the base, as ``add`` does."""

    def noted(task: PlannedTask) -> PlannedTask:
        metadata = note_config(task.metadata, location, task.checkpoint)
        metadata = BuiltTask(task, base).tuned.with_heads_noted(metadata)
        return msgspec.structs.replace(task, metadata=metadata)

    return msgspec.structs.replace(plan, tasks=tuple(map(noted, plan.tasks)))


def _read(manifest: ManifestSource) -> Manifest:
    return manifest if isinstance(manifest, Manifest) else read_manifest(manifest)


@contextmanager
def _work_folder(plan: Manifest, work: str | os.PathLike[str] | None) -> Iterator[WorkFolder]:
    if work is not None:
        yield WorkFolder(Path(work))
    elif plan.path is not None:
        yield WorkFolder(plan.path.with_name(f"{plan.path.name}.work"))
    else:
        with tempfile.TemporaryDirectory(prefix="tvbank-build-") as folder:
            yield WorkFolder(Path(folder))


def _hire(scheduler: str | None, workers: int | None) -> Workers:
    if scheduler is not None:
        if workers is not None:
            raise UsageError("--workers are processes of this machine; --scheduler has its own")
        from tvbank.building._dask import DaskWorkers

        return DaskWorkers(scheduler)
    count = (os.cpu_count() or 1) if workers is None else workers
    if count < 1:
        raise UsageError(f"--workers must be at least 1, got {count}")
    return LocalWorkers(count)


def _open_or_make(storage: Storage, plan: Manifest, workers: Workers) -> Catalog:
    """The bank's catalog; where there is no bank, one is made, if the manifest names a base."""
    try:
        return read_root_to_change(storage)[0]
    except BankNotFoundError:
        base = plan.base
        if base is None:
            raise
    if plan.base_names:
        raise UsageError(
            "the manifest's names are those of a base for a bank that is there: one that is made "
            "has its base's own names: leave them out"
        )
    refuse_occupied(storage)
    length = DEFAULT_CHUNK_LENGTH if plan.chunk_length is None else plan.chunk_length
    measured = _do(workers, MeasureBase(base, length), Measured)
    make_bank(storage, measured.layout, lambda: remember_base(storage, base))
    return read_root_to_change(storage)[0]


def _checked(base: Base, workers: Workers) -> Base:
    """A base that a worker can open, and what identifies it.

    Raises:
        CheckpointError, BaseMismatchError: it cannot be read, or is another.
    """
    return replace(base, identity=_do(workers, CheckBase(base), Surveyed).identity)


def _do(workers: Workers, job: Job, kind: type[_Found]) -> _Found:
    """Do one job before all others.

    Raises:
        TvbankError: its own error.
        StorageError: no worker could do it.
    """
    workers.submit(-1, job)
    outcome = workers.wait()[1]
    if isinstance(outcome, Failed):
        raise outcome.error
    if isinstance(outcome, Lost):
        raise StorageError(f"no worker could read the base: {outcome.reason}")
    found = unpack(outcome, kind)
    if found is None:
        raise StorageError("what a worker sent arrived damaged: build again")
    return found


def _known(task: BuiltTask, tasks: Mapping[str, CatalogEntry], folder: WorkFolder) -> str:
    """Identity of the checkpoint of which the task in the bank is known to be made, or nothing."""
    name, parent = task.plan.name, None
    note = folder.note(name)
    if note is None or name not in tasks or tasks[name].revision != note.revision:
        return ""
    if task.parent is not None:
        if task.parent not in tasks:
            return ""
        parent = ParentRecord(task.parent, tasks[task.parent].revision)
    return note.identity if task.key_of(note.identity, parent) == note.key else ""


def _compared(
    plan: Manifest, base: Base, catalog: Catalog, folder: WorkFolder
) -> list[tuple[BuiltTask, str, str]]:
    """Every task of a manifest, compared with the bank before any work.

    Returns, in the manifest's order, the task; the identity of its checkpoint if the bank's task is
    known to be made of it, else nothing; and why the task cannot be published, if it cannot.
    """
    parents, refused = parents_of(plan.tasks, catalog.tasks)
    compared: dict[str, tuple[BuiltTask, str, str]] = {}
    for planned in parents_first(plan.tasks):
        name = planned.name
        task = BuiltTask(planned, base, parents.get(name))
        known = _known(task, catalog.tasks, folder)
        refusal = refused.get(name) or _refusal(task, catalog.tasks, known=bool(known))
        if not refusal and task.parent in refused:
            refusal = not_built(task.parent)
        if refusal:
            refused[name] = refusal
        compared[name] = task, known, refusal
    return [compared[planned.name] for planned in plan.tasks]


def _refusal(task: BuiltTask, tasks: Mapping[str, CatalogEntry], *, known: bool) -> str:
    """Why a task cannot be published: one of that name was made otherwise, or differs in case."""
    planned = task.plan
    try:
        refuse_existing(tasks, planned.name, replace=True)
    except TaskExistsError as error:
        return str(error)
    if planned.name not in tasks or known or planned.replace:
        return ""
    entry, start = tasks[planned.name], task.parent or "the base"
    there, wanted = entry.compressor, planned.compressor.describe()
    before = entry.parent.task if entry.parent else "the base"
    if there != wanted and not (planned.as_is and there.get("name") == "adapter"):
        what = f"made by {there}, and the manifest asks for {wanted}"
    elif before != start:
        what = f"of steps from {before}, and the manifest asks for steps from {start}"
    else:
        return ""
    return (
        f"the bank has a task {planned.name!r} {what}: say `replace = true` there, or choose "
        "another name"
    )
