"""``patch``: a checkpoint brought forward by an update, every bit of it proved."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any, final

from numpy.typing import NDArray

from tvbank._progress import Counter, Listener, listener
from tvbank.bank.ahead import all_cores, run_ahead
from tvbank.bank.bank import Bank, as_bank
from tvbank.bank.task import Task
from tvbank.checkpoint import (
    Checkpoint,
    CheckpointSource,
    TensorSpec,
    borrow_checkpoint,
    checkpoint_file,
    read_texts,
    refuse_replacing,
)
from tvbank.errors import (
    BankExistsError,
    BaseMismatchError,
    CorruptionError,
    UsageError,
    name_units,
)
from tvbank.layout import fingerprint
from tvbank.merging.restored import Restored
from tvbank.naming import Names, RenamedCheckpoint, named_as, names_function
from tvbank.storage import Location, is_url, local_file
from tvbank.updates._diff import STATE
from tvbank.updates._in_place import InPlaceFolder
from tvbank.updates._outputs import INDEX, FileOutput, FolderOutput, Output, State
from tvbank.updates._proof import Proof, is_state
from tvbank.vector import BaseModel
from tvbank.vector.pairing import Pairing

#: How a task that came without a digest of its state tells one state from another.
_TAG_LENGTH = 8


@dataclass(frozen=True)
class PatchReport:
    """What ``patch`` did.

    Attributes:
        path: the file or folder that has the new state.
        already: whether the model had the new state before, and nothing was written.
        changed: number of tensors that are others than before.
        bytes: of all tensors.
        proved: whether the new state was compared with the digest in the update; one that
            ``tvbank.diff`` did not write may have none.
    """

    path: str
    already: bool
    changed: int
    bytes: int
    proved: bool


def patch(
    model: CheckpointSource,
    update: Bank | Location,
    *,
    out: str | os.PathLike[str] | None = None,
    in_place: bool = False,
    names: Names | None = None,
    replace: bool = False,
    progress: Listener = None,
) -> PatchReport:
    """Bring a checkpoint forward by an update that ``tvbank.diff`` wrote; every bit is proved.

    The new state is compared with its digest before anything takes its place; if it is another, or
    if the update has none, every tensor of the model is compared with that of the old checkpoint.
    In place, a kill at any moment leaves the old checkpoint or the new one: a file is replaced by
    one rename; of a folder with an index, shards that change are written under new names, and the
    index is replaced by one rename.

    Args:
        model: the old checkpoint; see ``open_checkpoint``.
        update: the file, its URL, or any bank with one exact task, or one chain of them.
        out: where the new checkpoint goes: a ``.safetensors`` file; or, for a model in a folder, a
            folder, which gets the same shards, and the other files as they are.
        in_place: whether it takes the place of the model instead, a safetensors file or folder.
        names: the model's name for each of the update's, if they differ: a mapping, or a function.
            The new checkpoint has the model's.
        replace: whether to replace a file that exists.
        progress: a ``Progress``, or a function that is called with bytes done and in all.

    Returns:
        What was done. In place, a model that has the new state already is left alone.

    Raises:
        BaseMismatchError: the model is not the old checkpoint, and nothing was written; names the
            units that differ, or says that it has the new state already.
        UsageError: neither or both of ``out`` and ``in_place``; a model that cannot be replaced;
            an update of several tasks, or of one that is not exact.
        BankExistsError: there is something at ``out``.
        BankNotFoundError, CorruptionError: the update is missing or damaged.
        StorageError: the disk refused; what was there stays as it was.
    """
    if (out is None) is not in_place:
        raise UsageError("give either a place for the new checkpoint (out=, -o) or in_place")
    bank = as_bank(update)
    task = _only_task(bank)
    state = task.metadata.get(STATE)
    with borrow_checkpoint(model) as checkpoint, all_cores() as pool:
        expected = state if isinstance(state, str) else None
        work = _Work(bank, task, expected, checkpoint, names, pool)
        output = _output(model, None if out is None else local_file(out), replace)
        try:
            # A new state that is proved needs no proof of the old one.
            proved = work.expected is not None
            restored = Restored(
                task, work.base(), bank.layout, pool, checked=not proved, prove=not proved
            )
            path = output.write(work.state(restored, listener(progress)))
        except (BaseMismatchError, CorruptionError) as caught:
            error = work.mismatch(caught)
            if error is None:
                raise
            if not work.is_new():
                raise error from caught
            if in_place:
                return PatchReport(checkpoint.source, True, 0, work.bytes, True)
            raise BaseMismatchError(
                f"{checkpoint.source}: already applied: it has the update's new state; nothing was "
                "written, use it as it is",
            ) from error
    return PatchReport(str(path), False, work.changed, work.bytes, work.expected is not None)


def _only_task(bank: Bank) -> Task:
    """The exact task of an update; others are only there for it to start from.

    Raises:
        UsageError: there are none, or several, or it is of another kind.
    """
    started = {task.parent for task in bank.values()}
    ends = [name for name in bank if name not in started]
    if len(ends) != 1 or len(bank[ends[0]].lineage) != len(bank):
        raise UsageError(
            f"{bank.location} has {len(bank)} tasks, an update has one: `tvbank export` writes a "
            "task of a bank"
        )
    task = bank[ends[0]].by_shard()
    if task.element != "int32":
        raise UsageError(
            f"{bank.location}: task {task.name!r} is not exact, so it leads to no proved state: "
            "`tvbank export` writes what it stands for"
        )
    return task


def _output(model: CheckpointSource, out: Path | None, replace: bool) -> Output:
    """Where the new state goes."""
    named = isinstance(model, str | os.PathLike) and not is_url(os.fspath(model))
    place = Path(os.fspath(model)) if named else None  # type: ignore[arg-type]
    file = None if place is None else checkpoint_file(place)
    if out is None:
        if file is None or not file.name.lower().endswith((".safetensors", INDEX)):
            raise UsageError(
                "in place, a model is a safetensors file or a folder of them on this machine: "
                "give a place for the new one instead (out=, -o)"
            )
        return InPlaceFolder(file) if file.name.endswith(INDEX) else FileOutput(
            file, read_texts(file)
        )  # fmt: skip
    as_folder = place is not None and (place.is_dir() or place.name.endswith(INDEX))
    if as_folder and file is not None and not out.name.lower().endswith(".safetensors"):
        if not file.name.lower().endswith((".safetensors", INDEX)):
            raise UsageError(f"{file} is no safetensors file: name a .safetensors file for the new")
        return FolderOutput(out, file)
    if out.is_dir() or (out.exists() and not replace):
        raise BankExistsError(f"{out} exists: choose another name, or replace it (--force)")
    refuse_replacing(out, model, "model")
    plain = file is not None and file.name.lower().endswith(".safetensors")
    return FileOutput(out, read_texts(file) if plain and file is not None else None)


@final
class _Work:
    """One patch: what is expected, and what has been made.

    Attributes:
        expected: the digest of the new state, if the update says it.
        changed: number of tensors that are others than before.
        bytes: of all tensors.
    """

    def __init__(
        self,
        bank: Bank,
        task: Task,
        expected: str | None,
        checkpoint: Checkpoint,
        names: Names | None,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._bank, self._task, self.expected = bank, task, expected
        self._given, self._names, self._pool = checkpoint, names, pool
        self._checkpoint = checkpoint  # by the update's names
        if names is not None:
            self._checkpoint = named_as(bank.layout, checkpoint, names=names).checkpoint
        self.changed = 0
        self.bytes = sum(spec.nbytes for spec in checkpoint.tensors.values())

    def base(self) -> BaseModel:
        """The model, if it may be the old checkpoint.

        Raises:
            BaseMismatchError: it lacks units, has others, or has further tensors; names them.
        """
        base = BaseModel(self._bank.layout, self._checkpoint)
        if further := Pairing(self._bank.layout, self._checkpoint).further():
            raise BaseMismatchError(
                f"{self._checkpoint.source} is not the checkpoint that this update starts from: it "
                f"has {name_units(further)} besides; give that one, or say what it calls the "
                "update's units (names=, --names)", further,
            )  # fmt: skip
        return base

    def mismatch(self, error: BaseMismatchError | CorruptionError) -> BaseMismatchError | None:
        """What is wrong with the model, where an update led to a fault; None if nothing is."""
        if isinstance(error, BaseMismatchError):
            return error
        base = self.base()

        def seen(name: str) -> str:
            return fingerprint(base.read_unchecked(name))

        names = [record.name for record in self._bank.layout.records]
        try:
            for name, sha256 in zip(names, self._pool.map(seen, names), strict=True):
                base.check(name, sha256)
        except BaseMismatchError as wrong:
            return wrong
        return None

    def is_new(self) -> bool:
        """Whether the model has the new state; reads it, unless its names tell."""
        if self.expected is None:
            return False
        further = set(self._task.extras) - {record.name for record in self._bank.layout.records}
        return is_state(self._checkpoint, self._bank.layout, further, self.expected, self._pool)

    def state(self, restored: Restored, progress: Any) -> State:
        """The new state: tied names only where the model has them."""
        layout, task, there = self._bank.layout, self._task, set(self._checkpoint.tensors)
        proof = Proof(self._pool)
        specs = [spec for spec in restored.specs if self._is_written(spec.name, there)]
        self.bytes = sum(spec.nbytes for spec in specs)
        counter = Counter(progress, self.bytes)
        owners = {record.name for record in layout.records} | set(task.extras)
        unwritten = [s for s in restored.specs if s.name in owners and s not in specs]
        theirs = {spec.name: self._own_name(spec.name) for spec in specs}
        ours = {own: name for name, own in theirs.items()}
        order = {name: number for number, name in enumerate(self._given.tensors)}
        specs.sort(key=lambda spec: order.get(theirs[spec.name], len(order)))

        def make(some: Sequence[TensorSpec]) -> Iterator[NDArray[Any]]:
            named = [replaced(spec, name=ours.get(spec.name, spec.name)) for spec in some]
            made = run_ahead(named, lambda s: restored.start(s.name), lambda s: s.nbytes)
            for spec, array in zip(named, made, strict=True):
                if spec.name in owners:
                    proof.add(spec, array)
                counter.advance(spec.nbytes)
                yield array

        def prove() -> None:
            for _ in make(unwritten):
                pass
            if self.expected is not None and proof.digest() != self.expected:
                raise CorruptionError(
                    "state", f"{self._bank.location}: task {task.name!r} does not lead to the "
                    "state that it states; nothing was replaced. Fetch the update again",
                    key=f"tasks/{task.name}", task=task.name,
                )  # fmt: skip

        changed = {theirs[spec.name] for spec in specs if self._is_changed(spec.name)}
        written = [replaced(spec, name=theirs[spec.name]) for spec in specs]
        self.changed = len(changed)
        tag = (self.expected or task.revision)[:_TAG_LENGTH]
        return State(written, changed.__contains__, make, prove, tag)

    def _own_name(self, name: str) -> str:
        """What the model calls a tensor of the update."""
        if self._names is None:
            return name
        if isinstance(self._checkpoint, RenamedCheckpoint):
            own = self._checkpoint.origin(name)
            if own is not None:
                return own
        return names_function(self._names)(name) or name

    def _is_written(self, name: str, there: set[str]) -> bool:
        """Whether a file of the new state has a tensor of that name."""
        layout = self._bank.layout
        if name in there or name in self._task.extras:
            return True
        if name in layout.tied:
            return False
        return not there.intersection(layout.aliases.get(name, ()))

    def _is_changed(self, name: str) -> bool:
        """Whether a tensor is another than in the old checkpoint."""
        layout, task = self._bank.layout, self._task
        owner = layout.tied.get(name, name)
        if name in task.extras or owner in task.extras:
            return True
        return owner in task and next(task.frames(owner), None) is not None
