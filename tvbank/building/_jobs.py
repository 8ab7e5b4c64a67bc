"""What workers do: look at a fine-tune, encode some of its units, or all of a task at once.

A job carries all that it needs but the weights, which its worker reads where they are. What comes
back are documents and frames, packed, with a digest: a job's result is also a file in the work
folder, and may have been cut short there.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar, final

import msgspec

from tvbank._progress import SILENT, Counter
from tvbank._version import __version__
from tvbank.bank.documents import CatalogEntry, ExtraRecord, encode_document
from tvbank.bank.encoder import Encoder
from tvbank.bank.writer import Spool, encode_whole, prepare
from tvbank.building._opened import Base, Tuned
from tvbank.checkpoint import identify_checkpoint, open_checkpoint
from tvbank.coding import read_header
from tvbank.compress import Compressor
from tvbank.errors import StorageError, TooLargeError, TvbankError
from tvbank.layout import build_layout

_Body = TypeVar("_Body", bound=msgspec.Struct)
_DIGEST_BYTES = 32


class Job(ABC):
    """Something to do on a worker."""

    @abstractmethod
    def run(self, threads: int) -> bytes:
        """Do it on so many threads; see ``pack`` for what is returned."""


class Surveyed(msgspec.Struct, frozen=True, kw_only=True):
    """What a fine-tune consists of; nothing but its identity if that was known.

    Attributes:
        identity: see ``identify_checkpoint``.
        units: names of the units to encode, and their bytes in the fine-tune.
        whole: likewise, of the tensors to keep whole.
        complete: false if nothing but the identity was looked at, since it was known.
    """

    identity: str
    complete: bool = True
    units: list[tuple[str, int]] = []
    whole: list[tuple[str, int]] = []


class Encoded(msgspec.Struct, frozen=True, kw_only=True):
    """Some of a revision.

    Attributes:
        frames: number of the chunk and frame, ascending; none that are zero.
        extras: each with its chunks, as ``encode_extra`` makes them.
    """

    frames: list[tuple[int, bytes]]
    extras: list[tuple[ExtraRecord, list[tuple[str, bytes]]]]


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """All of a revision: see ``tvbank.bank.writer.Prepared``."""

    entry: CatalogEntry
    document: bytes
    objects: list[tuple[str, bytes]]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The layout document of a base."""

    layout: bytes


@final
@dataclass(frozen=True)
class MeasureBase(Job):
    """Lay a base's units out and fingerprint them."""

    location: str
    chunk_length: int

    def run(self, threads: int) -> bytes:
        """See ``Job.run``: ``Measured``."""
        with open_checkpoint(self.location) as checkpoint:
            return pack(
                Measured(layout=encode_document(build_layout(checkpoint, self.chunk_length)))
            )


@final
@dataclass(frozen=True)
class CheckBase(Job):
    """Compare a base's names, shapes and element types with the layout."""

    base: Base

    def run(self, threads: int) -> bytes:
        """See ``Job.run``: ``Surveyed``, with the base's identity."""
        identity = identify_checkpoint(self.base.location)
        replace(self.base, identity=identity).open()
        return pack(Surveyed(identity=identity, complete=False))


@final
@dataclass(frozen=True)
class Survey(Job):
    """Look at a fine-tune's names and shapes, and read its buffers.

    Attributes:
        tuned: the fine-tune.
        known: its identity when it was built before, if it was.
    """

    tuned: Tuned
    known: str

    def run(self, threads: int) -> bytes:
        """See ``Job.run``: ``Surveyed``."""
        identity = identify_checkpoint(self.tuned.checkpoint)
        if identity == self.known:
            return pack(Surveyed(identity=identity, complete=False))
        tuned = replace(self.tuned, identity=identity)
        vector = tuned.open()
        units = [unit.name for unit in vector.units]
        found = Surveyed(
            identity=identity,
            units=[(name, vector.spec(name).nbytes) for name in units],
            whole=[(name, vector.spec(name).nbytes) for name in vector.whole],
        )
        tuned.check_identity()
        return pack(found)


@final
@dataclass(frozen=True)
class EncodeUnits(Job):
    """Encode some units of a fine-tune, and some of the tensors that are kept whole.

    Attributes:
        tuned: the fine-tune.
        units: names of units, in the order of the layout.
        whole: names of tensors to keep whole.
    """

    tuned: Tuned
    units: tuple[str, ...]
    whole: tuple[str, ...]

    def run(self, threads: int) -> bytes:
        """See ``Job.run``: ``Encoded``."""
        layout, base = self.tuned.base.open()
        vector = self.tuned.open()
        vector.expect(self.whole)
        with ThreadPoolExecutor(threads) as pool:
            encoder = Encoder(layout, base, vector, self.tuned.compressor, pool)
            chosen = [layout.by_name[name] for name in self.units]
            frames = [
                (chunk, frame)
                for chunk, frame in encoder.frames(units=chosen)
                if read_header(frame).nonzeros
            ]
        extras = []
        for name in self.whole:
            record, chunks = encode_whole(vector, name)
            extras.append((record, list(chunks)))
        self.tuned.check_identity()
        return pack(Encoded(frames=frames, extras=extras))


@final
@dataclass(frozen=True)
class EncodeTask(Job):
    """Encode a whole task, for a compressor that must see all units before it takes one.

    Attributes:
        tuned: the fine-tune.
        metadata: the user's own.
    """

    tuned: Tuned
    metadata: dict[str, Any]

    def run(self, threads: int) -> bytes:
        """See ``Job.run``: ``Whole``."""
        layout, base = self.tuned.base.open()
        vector = self.tuned.open()
        with Spool() as spool, ThreadPoolExecutor(threads) as pool:
            made = prepare(
                layout, self.tuned.base.sha256, base, vector, self.tuned.compressor, self.metadata,
                spool, pool, Counter(SILENT, 0),
            )  # fmt: skip
            self.tuned.check_identity()
            return pack(Whole(entry=made.entry, document=made.document, objects=list(made.objects)))


@dataclass(frozen=True)
class Failed:
    """A job that would fail again: its error."""

    error: TvbankError


def run_job(job: Job, threads: int, version: str) -> bytes | Failed:
    """Do a job; what may go better on another worker or at another time is raised.

    Args:
        job: what to do.
        threads: to do it on.
        version: of tvbank where the job comes from.

    Raises:
        RuntimeError: this worker has another version, whose bytes may be others.
        StorageError, TooLargeError: of the store or the memory.
    """
    if version != __version__:
        raise RuntimeError(f"this worker has tvbank {__version__}, the build {version}")
    try:
        return job.run(threads)
    except (StorageError, TooLargeError):
        raise
    except TvbankError as error:
        return Failed(error)


def pack(body: msgspec.Struct) -> bytes:
    """A result as bytes: SHA-256 of what follows, then MessagePack."""
    data = msgspec.msgpack.encode(body)
    return hashlib.sha256(data).digest() + data


def unpack(packed: bytes, kind: type[_Body]) -> _Body | None:
    """What was packed, or None if it was cut short or damaged since."""
    data = memoryview(packed)[_DIGEST_BYTES:]
    if hashlib.sha256(data).digest() != packed[:_DIGEST_BYTES]:
        return None
    return msgspec.msgpack.decode(data, type=kind)


def needs_all(compressor: Compressor) -> bool:
    """Whether a compressor must see all units before it takes one."""
    return type(compressor).plan is not Compressor.plan
