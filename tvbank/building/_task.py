"""One task of a build: its jobs, the work folder of their results, and the revision they make.

The work folder holds finished jobs of unfinished tasks, and notes on what finished tasks were made
of. If it is removed, only time is lost.

=====================  ===================================================================
``notes/<task>.json``  key and revision of a task that was built
``<key>/<number>``     packed result of a job of a task under way, complete or absent
=====================  ===================================================================

A task's *key* is a digest of all that its revision depends on.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, final

import msgspec

from tvbank._atomic import remove_leftovers, replace_file
from tvbank._files import read_regular
from tvbank._version import __version__
from tvbank.bank.ahead import grouped
from tvbank.bank.chains import ParentRecord
from tvbank.bank.documents import FORMAT
from tvbank.bank.writer import Prepared, RevisionWriter, Spool
from tvbank.building._jobs import (
    Encoded,
    EncodeTask,
    EncodeUnits,
    Surveyed,
    Whole,
    needs_all,
    unpack,
)
from tvbank.building._results import (
    check_frames,
    check_revision,
    check_whole_tensors,
    most_bytes,
)
from tvbank.building._sources import Base, Parent, Tuned
from tvbank.building.manifest import PlannedTask
from tvbank.errors import StorageError, TvbankError
from tvbank.layout import Digest, Layout

_Kind = TypeVar("_Kind", Encoded, Whole)

#: Bytes of the fine-tune that a job takes, unless a unit is larger: its result is at most as large,
#: and is what is lost with a worker.
_GRAIN = 2**25


class DamagedResultError(TvbankError, ValueError):
    """A result in the work folder was cut short or damaged; ``job`` is its number.

    It is never raised to users: the job is done again.
    """

    def __init__(self, job: int) -> None:
        super().__init__(f"the result of job {job} in the work folder was cut short or damaged")
        self.job = job


@final
class BuiltTask:
    """A task on its way into the bank.

    Attributes:
        plan: what the manifest says of it.
        parent: the task that it starts from, if that is not the base.
        tuned: the fine-tune.
        key: digest of all that the revision depends on, once it was surveyed.
        jobs: what is to be done, in the order in which results make up the revision.
        missing: numbers of the jobs whose results are not there.
    """

    def __init__(self, plan: PlannedTask, base: Base, parent: str | None = None) -> None:
        self.plan, self.parent = plan, parent
        self.tuned = Tuned(
            plan.checkpoint, base, plan.compressor, plan.replace_mismatched, given=plan.given,
            missing=plan.missing, names=plan.names, as_is=plan.as_is,
            exact=plan.compressor.element == "int32",
        )  # fmt: skip
        self.key = ""
        self.jobs: list[EncodeUnits | EncodeTask] = []
        self.missing: set[int] = set()
        self._found: set[int] = set()
        self._refused: set[int] = set()
        self._bytes: dict[str, int] = {}

    def key_of(self, identity: str, parent: ParentRecord | None) -> str:
        """The task's key, if its checkpoint has this identity, and its parent this revision."""
        facts = {
            "task": self.plan.name,  # two tasks may be made from one checkpoint
            "format": FORMAT,
            "tvbank": __version__,
            "layout": self.tuned.base.sha256,
            "identity": identity,
            "compressor": self.plan.compressor.describe(),
            "replace_mismatched": self.plan.replace_mismatched,
            "missing": self.plan.missing,
            "names": self.plan.names,
            "as_is": self.plan.as_is,
            "metadata": self.plan.metadata,
            "grain": _GRAIN,
            "parent": parent,
        }
        return hashlib.sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest()

    def begin(self, survey: Surveyed, work: WorkFolder) -> None:
        """Divide the task into jobs, and leave out those whose results are there already."""
        self.key = self.key_of(survey.identity, self._record)
        self.tuned = replace(self.tuned, identity=survey.identity)
        if survey.at_once or needs_all(self.plan.compressor):
            names = tuple(dict(survey.units)), tuple(dict(survey.whole))
            self.jobs = [EncodeTask(self.tuned, *names, self.plan.metadata)]
        else:
            whole = [EncodeUnits(self.tuned, (), names) for names in grouped(survey.whole, _GRAIN)]
            units = [EncodeUnits(self.tuned, names, ()) for names in grouped(survey.units, _GRAIN)]
            self.jobs = [*whole, *units]
        self._bytes = dict([*survey.whole, *survey.units])
        self.missing = {n for n in range(len(self.jobs)) if not work.has(self.key, n)}
        self._found = set(range(len(self.jobs))) - self.missing

    def start_from(self, parent: Parent) -> None:
        """Say where the parent is, now that the bank has it; the survey comes after this."""
        self.tuned = replace(self.tuned, parent=parent)

    @property
    def _record(self) -> ParentRecord | None:
        return None if self.tuned.parent is None else self.tuned.parent.record

    def units(self, job: int | None = None) -> int:
        """Units, and tensors kept whole, of a job or of all."""
        chosen = self.jobs if job is None else [self.jobs[job]]
        return sum(len(one.units) + len(one.whole) for one in chosen)

    def named(self, job: int) -> str:
        """The units of a job, for messages."""
        one = self.jobs[job]
        names = [*one.units, *one.whole] if isinstance(one, EncodeUnits) else []
        if not names:
            return "all units"
        return f"unit {names[0]!r}" if len(names) == 1 else f"units {names[0]!r} to {names[-1]!r}"

    def assemble(self, layout: Layout, work: WorkFolder, spool: Spool) -> Prepared:
        """Make the revision of all results, whose frames are read one job after the other.

        Raises:
            DamagedResultError: a result was cut short or damaged, and has been removed.
            StorageError: the same of a job that was done again for that reason.
        """
        if len(self.jobs) == 1 and isinstance(self.jobs[0], EncodeTask):
            whole = self._read(layout, work, 0, Whole)
            for key, data in whole.objects:
                spool.add(key, data)
            return Prepared(whole.entry, whole.document, spool)
        compressor = self.plan.compressor
        writer = RevisionWriter(layout, compressor.element, spool, self._record)
        covered: list[str] = []
        for number, job in enumerate(self.jobs):
            assert isinstance(job, EncodeUnits)
            covered += job.units
            if job.whole:
                for record, chunks in self._read(layout, work, number, Encoded).extras:
                    writer.keep_whole(record, chunks)

        state: dict[str, str] = {}

        def frames() -> Iterator[tuple[int, bytes]]:
            for number, job in enumerate(self.jobs):
                if job.units:
                    result = self._read(layout, work, number, Encoded)
                    state.update(result.state)
                    yield from result.frames

        entries = sum(layout.by_name[name].size for name in covered)
        return writer.finish(
            frames(), entries, compressor.describe(), self.plan.metadata,
            state=state if compressor.element == "int32" else None,
        )  # fmt: skip

    def _read(self, layout: Layout, work: WorkFolder, number: int, kind: type[_Kind]) -> _Kind:
        found = number in self._found
        result = unpack(work.get(self.key, number, self._most_bytes(number)), kind)
        if result is not None and (not found or self._fits(layout, self.jobs[number], result)):
            return result
        work.drop(self.key, number)
        self._found.discard(number)
        if number in self._refused:
            raise StorageError(
                f"what was encoded of {self.named(number)} cannot be read back from the work "
                "folder: check its disk, or name another folder (work=, --work)"
            )
        self._refused.add(number)
        raise DamagedResultError(number)

    def _most_bytes(self, job: int) -> int:
        one = self.jobs[job]
        names = (*one.units, *one.whole)
        return most_bytes(sum(self._bytes[name] for name in names))

    def _fits(self, layout: Layout, job: EncodeUnits | EncodeTask, result: Encoded | Whole) -> bool:
        """Whether a result that an earlier build left is what the job makes."""
        try:
            if isinstance(result, Whole):
                check_revision(result, layout, self.plan)
            elif job.whole:
                check_whole_tensors(result, {name: self._bytes[name] for name in job.whole})
            else:
                check_frames(result, layout, job.units, self.plan.compressor.element)
        except TvbankError:
            return False
        return True


_NOTES = "notes"
_NOTE_BYTES = 4096
_SEAL_BYTES = 32


def _seal(key: str, job: int, packed: bytes) -> bytes:
    """SHA-256 that binds a result to its job: moved to another's place it counts as damaged."""
    return hashlib.sha256(f"{key}/{job}/".encode() + hashlib.sha256(packed).digest()).digest()


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What a task in the bank was made from.

    Attributes:
        key: of the task.
        identity: of its checkpoint.
        revision: in the bank.
    """

    key: Digest
    identity: Digest
    revision: Digest


@final
class WorkFolder:
    """The files of the work folder; each is written aside and renamed."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def note(self, task: str) -> Note | None:
        """What the task in the bank was made from, as far as it was noted."""
        try:
            content = read_regular(self._root / _NOTES / f"{task}.json", _NOTE_BYTES)
            return msgspec.json.decode(content, type=Note)
        except (OSError, ValueError, msgspec.MsgspecError, RecursionError):
            return None

    def remember(self, task: str, note: Note) -> None:
        """Note what a task was made from, and remove the results of its jobs."""
        self._write(self._root / _NOTES / f"{task}.json", msgspec.json.encode(note))
        shutil.rmtree(self._root / note.key, ignore_errors=True)

    def has(self, key: str, job: int) -> bool:
        """Whether there is a result of a job."""
        return (self._root / key / str(job)).is_file()

    def put(self, key: str, job: int, packed: bytes) -> None:
        """Keep the result of a job.

        Raises:
            StorageError: the disk refused.
        """
        self._write(self._root / key / str(job), _seal(key, job, packed) + packed)

    def get(self, key: str, job: int, most: int) -> bytes:
        """The result of a job; nothing, if it was removed meanwhile, or is another's.

        Args:
            key: of the task.
            job: its number.
            most: bytes that it may have; of a larger file nothing is read.

        Raises:
            StorageError: the disk refused.
        """
        path = self._root / key / str(job)
        try:
            content = read_regular(path, most)
        except FileNotFoundError:
            return b""
        except OSError as error:
            if error.errno in (errno.EFBIG, errno.EINVAL, errno.EISDIR):
                return b""
            raise StorageError(f"{path} cannot be read: {error.strerror or error}") from error
        seal, packed = content[:_SEAL_BYTES], content[_SEAL_BYTES:]
        return packed if seal == _seal(key, job, packed) else b""

    def drop(self, key: str, job: int) -> None:
        """Remove the result of a job."""
        (self._root / key / str(job)).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove the results of all jobs: nothing is under way."""
        for path in self._root.iterdir() if self._root.is_dir() else ():
            if path.name != _NOTES and path.is_dir() and len(path.name) == 64:
                shutil.rmtree(path, ignore_errors=True)

    def sweep(self) -> None:
        """Remove the temporary files of builds that were killed."""
        for path in self._root.iterdir() if self._root.is_dir() else ():
            if path.is_dir() and not path.is_symlink():
                remove_leftovers(path)

    def _write(self, path: Path, data: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _refusal(path, error) from error
        replace_file(path, data, _refusal)


def _refusal(path: Path, error: OSError | ValueError) -> Exception:
    why = getattr(error, "strerror", None) or error
    return StorageError(
        f"cannot write {path}: {why}; free some space, or name another work folder (work=, --work)"
    )
