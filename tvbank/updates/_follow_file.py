"""``follow_file``: a safetensors file that keeps up with the newest version in a bank."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, final

from numpy.typing import NDArray

from tvbank._progress import Counter, Listener, listener
from tvbank.bank.ahead import all_cores, run_ahead
from tvbank.bank.bank import Bank
from tvbank.bank.outputs import refuse_within
from tvbank.bank.task import Task
from tvbank.checkpoint import (
    Checkpoint,
    CheckpointSource,
    TensorSpec,
    aligned_order,
    borrow_checkpoint,
    read_texts,
    refuse_replacing,
    write_safetensors,
)
from tvbank.errors import CheckpointError, UsageError
from tvbank.layout import Layout, fingerprint
from tvbank.merging.restored import Restored
from tvbank.naming import Names
from tvbank.storage import is_url, local_file
from tvbank.updates._follow import FollowReport, report_of, settled
from tvbank.updates._proof import Proof
from tvbank.vector import BaseModel

#: Texts in the header of a file that is followed: its version, and the digest of its units.
_TASK, _REVISION, _LAYOUT, _UNITS = (
    "tvbank.task", "tvbank.revision", "tvbank.layout", "tvbank.units",
)  # fmt: skip


def follow_file(
    bank: Bank,
    out: str | Path,
    *,
    base: CheckpointSource | None = None,
    prefix: str | None = None,
    names: Names | None = None,
    replace: bool = False,
    progress: Listener = None,
) -> FollowReport:
    """Look once, and bring a file to the newest version in a bank; see ``Bank.newest``.

    The file says in its header which version it is, so that a follower that was killed or slept
    goes on. From a version of the same chain it reads the steps between them; otherwise base and
    anchor: whichever of the two is less to read. The file is replaced by one rename.

    Args:
        bank: an open bank; it is refreshed.
        out: the safetensors file.
        base: the base's weights; by default those that ``create`` was given.
        prefix: what the names of versions begin with.
        names: what the base's weights call each of the bank's names, if no way is found. The file
            has the bank's.
        replace: whether to replace a file that no follower wrote, or that others have changed.
        progress: a ``Progress``, or a function that is called with bytes done and in all.

    Raises:
        UsageError: such a file is there, and ``replace`` is false; several series and no prefix.
        BaseMismatchError: another base; names the units that differ.
        CorruptionError, StorageError: the version cannot be read, or not written; the file stays.
    """
    path = local_file(out)
    refuse_within(bank.storage, path)

    def bring(name: str | None) -> FollowReport:
        held = _held(path, bank.layout, replace)
        before = held.get(_TASK)
        if name is None:
            return FollowReport(None, before, "none")
        task = bank[name]
        if held.get(_REVISION) == task.revision:
            return FollowReport(name, before, "none")
        work = _Work(bank, task, path, base, names, held, listener(progress))
        return work.by_steps(replace) if work.steps_are_less() else work.from_base()

    return settled(bank, bring, prefix)


def _held(path: Path, layout: Layout, replace: bool) -> dict[str, str]:
    """What a file says of itself; nothing of one that is not there or is to be replaced anyway."""
    if not path.exists():
        return {}
    try:
        texts = read_texts(path)
    except CheckpointError:
        texts = {}
    if texts.get(_LAYOUT) == layout.sha256 and texts.keys() >= {_TASK, _REVISION, _UNITS}:
        return texts
    if replace:
        return {}
    raise UsageError(
        f"{path} is there, and is no version of this bank's base that a follower wrote: choose "
        "another file, or replace it (--force)"
    )


@final
class _Work:
    """One new version of a file."""

    def __init__(
        self,
        bank: Bank,
        task: Task,
        path: Path,
        base: CheckpointSource | None,
        names: Names | None,
        held: dict[str, str],
        progress: Any,
    ) -> None:
        self._bank, self._task, self._path, self._base = bank, task, path, base
        self._names, self._held, self._progress = names, held, progress
        self._begun = time.monotonic()
        found = [n for n, each in enumerate(task.lineage) if each.revision == held.get(_REVISION)]
        self._known = found[0] + 1 if found else 0

    def steps_are_less(self) -> bool:
        """Whether it is less to read to go on from the file; the base counts if it is not here."""
        if not self._known:
            return False
        source = self._bank.base_source(self._base) if self._base is not None else None
        far = isinstance(source, str) and is_url(source)
        tasks = self._task.lineage
        steps = sum(each.stored_bytes for each in tasks[self._known :])
        whole = sum(each.stored_bytes for each in tasks)
        return steps <= whole + (self._bank.layout.unit_bytes if far else 0)

    def from_base(self) -> FollowReport:
        """Write the version from the base and its whole chain."""
        source = self._bank.base_source(self._base)
        refuse_replacing(self._path, source)
        with borrow_checkpoint(source) as checkpoint, all_cores() as pool:
            base = BaseModel(self._bank.layout, checkpoint, names=self._names)
            self._write(Restored(self._task.by_shard(), base, self._bank.layout, pool), pool)
        return self._report(self._task.lineage, shared=False)

    def by_steps(self, replace: bool) -> FollowReport:
        """Write the version from the file, if it is still what its follower wrote."""
        before, task = self._task.lineage[self._known - 1], self._task.since(self._known)
        layout = self._bank.layout
        try:
            with borrow_checkpoint(self._path) as checkpoint, all_cores() as pool:
                state = _HeldState(layout, checkpoint, before, pool)
                if not state.has_base_of(task):
                    return self.from_base()
                restored = Restored(task.by_shard(), state, layout, pool)

                def prove() -> None:
                    if state.digest() != self._held[_UNITS]:
                        raise _ChangedError

                self._write(restored, pool, prove)
        except CheckpointError as error:
            if replace:
                return self.from_base()
            raise UsageError(
                f"{self._path} was changed by others since its follower wrote version "
                f"{before.name!r}; nothing was written. Move it away, or have it written anew "
                "from the base (--force)"
            ) from error
        return self._report(self._task.lineage[self._known :], shared=True)

    def _report(self, read: tuple[Task, ...], *, shared: bool) -> FollowReport:
        return report_of(self._held.get(_TASK), self._task, read, shared, self._begun)

    def _write(self, restored: Restored, pool: Executor, prove: Any = lambda: None) -> None:
        """Write all tensors; the digest of the units is put into the header at the end."""
        ordered = aligned_order(restored.specs)
        counter = Counter(self._progress, sum(spec.nbytes for spec in ordered))
        units = {unit.name for unit in self._bank.layout.units} - set(self._task.extras)
        proof = Proof(pool)

        def arrays() -> Iterator[NDArray[Any]]:
            made = run_ahead(ordered, lambda s: restored.start(s.name), lambda s: s.nbytes)
            for spec, array in zip(ordered, made, strict=True):
                if spec.name in units:
                    proof.add(spec, array)
                counter.advance(spec.nbytes)
                yield array
            prove()

        texts = {
            "format": "pt", _TASK: self._task.name, _REVISION: self._task.revision,
            _LAYOUT: self._bank.layout.sha256, _UNITS: "0" * 64,
        }  # fmt: skip
        write_safetensors(
            self._path, ordered, arrays(), texts, lambda: texts | {_UNITS: proof.digest()}
        )


class _ChangedError(CheckpointError):
    """A file is not what its follower wrote."""


@final
class _HeldState:
    """The weights of a version that a file holds, in the place of a base's.

    What is read is not compared with the bank's digests, which are the base's, but all of it
    together with the digest that the follower left in the file.
    """

    def __init__(self, layout: Layout, checkpoint: Checkpoint, task: Task, pool: Executor) -> None:
        self._layout, self._checkpoint, self._pool = layout, checkpoint, pool
        self._units = {unit.name: unit for unit in layout.units if unit.name in task}
        self._lines: dict[str, str] = {}
        for name, unit in self._units.items():
            spec = checkpoint.tensors.get(name)
            if spec is None or (spec.dtype, spec.shape) != (unit.dtype, unit.shape):
                raise _ChangedError

    def has_base_of(self, task: Task) -> bool:
        """Whether tensors without deltas are the base's here where the task does not keep them."""
        for record in self._layout.whole:
            if record.name not in task.extras:
                known = record.name in self._checkpoint.tensors
                if not known or fingerprint(self.read_unchecked(record.name)) != record.sha256:
                    return False
        return True

    def read_unchecked(self, name: str) -> NDArray[Any]:
        """The file's tensor."""
        array: NDArray[Any] = self._checkpoint.read(name)
        return array

    def check(self, name: str, sha256: str) -> None:
        """Remember a unit's digest."""
        self._lines[name] = sha256

    def digest(self) -> str:
        """Of all units, those that the next version keeps whole are read for it."""
        proof = Proof(self._pool)
        for name, unit in self._units.items():
            spec = TensorSpec(name, unit.dtype, unit.shape)
            if name in self._lines:
                proof.add_known(spec, self._lines[name])
            else:
                proof.add(spec, self.read_unchecked(name))
        return proof.digest()
