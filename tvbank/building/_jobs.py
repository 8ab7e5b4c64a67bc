"""What workers do: look at a fine-tune, encode some of its units, or all of a task at once.

A job carries all that it needs but the weights, which its worker reads where they are (see
``_sources``). The result of a job is documents and frames, packed, with a digest: it is also a
file in the work folder, and may have been cut short there.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar, final

import msgspec

from tvbank._progress import Counter, listener
from tvbank._version import __version__
from tvbank.adapters import Bound
from tvbank.artefacts import borrow_base
from tvbank.bank.adapting import prepare_products
from tvbank.bank.documents import CatalogEntry, ExtraRecord
from tvbank.bank.encoder import Encoder
from tvbank.bank.writer import Spool, encode_whole, prepare
from tvbank.building._sources import Base, Tuned
from tvbank.checkpoint import (
    identify_checkpoint,
)
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
        """Do it on this number of threads, and return the packed result (see ``pack``)."""


class Surveyed(msgspec.Struct, frozen=True, kw_only=True):
    """The tensors of a fine-tune; only its identity, if that was known.

    Attributes:
        identity: see ``identify_checkpoint``.
        units: names of the units to encode, and their bytes in the fine-tune.
        whole: likewise, of the tensors to keep whole.
        complete: false if only the identity was looked at, since it was known.
        remark: what the user should know of how it is stored; mostly nothing.
        at_once: whether one job makes all of the task: of an adapter that is kept as products.
    """

    identity: str
    complete: bool = True
    units: list[tuple[str, int]] = []
    whole: list[tuple[str, int]] = []
    remark: str = ""
    at_once: bool = False


class Encoded(msgspec.Struct, frozen=True, kw_only=True):
    """Part of a revision.

    Attributes:
        frames: number of the chunk and frame, ascending; none that are zero.
        extras: each with its chunks, as ``encode_extra`` makes them.
        state: of an exact task, the SHA-256 of the new weights of each unit.
    """

    frames: list[tuple[int, bytes]]
    extras: list[tuple[ExtraRecord, list[tuple[str, bytes]]]]
    state: dict[str, str] = {}


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
        with borrow_base(self.location) as checkpoint:
            return pack(Measured(layout=build_layout(checkpoint, self.chunk_length).document))


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
    """Decide which tensors of a fine-tune become entries, and read a few for that.

    Attributes:
        tuned: the fine-tune.
        known: its identity when it was built before, if it was.
    """

    tuned: Tuned
    known: str

    def run(self, threads: int) -> bytes:
        """See ``Job.run``: ``Surveyed``."""
        identity = self.tuned.identify()
        if identity == self.known:
            return pack(Surveyed(identity=identity, complete=False))
        tuned = replace(self.tuned, identity=identity)
        with tuned.products() as bound:
            if bound is not None:
                return pack(_survey_of(bound, identity))
        vector = tuned.sort()
        spec = vector.fine_tune.spec
        found = Surveyed(
            identity=identity,
            units=[(unit.name, spec(unit.name).nbytes) for unit in vector.units],
            whole=[(name, spec(name).nbytes) for name in vector.whole],
            remark="; ".join(filter(None, (*vector.fine_tune.remarks, vector.remark))),
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
        with ThreadPoolExecutor(threads) as pool:
            draft = self.tuned.draft(pool, self.units, self.whole)
            draft.vector.fine_tune.expect(self.whole)
            encoder = Encoder(draft)
            frames = [
                (chunk, frame) for chunk, frame in encoder.frames() if read_header(frame).nonzeros
            ]
        extras = []
        for name in self.whole:
            record, chunks = encode_whole(draft.vector.fine_tune, name)
            extras.append((record, list(chunks)))
        self.tuned.check_identity()
        return pack(Encoded(frames=frames, extras=extras, state=encoder.state or {}))


@final
@dataclass(frozen=True)
class EncodeTask(Job):
    """Encode all of a task, for a compressor that must see all units before it encodes any.

    Attributes:
        tuned: the fine-tune.
        units: names of its units, in the order of the layout.
        whole: names of the tensors to keep whole.
        metadata: the user's own.
    """

    tuned: Tuned
    units: tuple[str, ...]
    whole: tuple[str, ...]
    metadata: dict[str, Any]

    def run(self, threads: int) -> bytes:
        """See ``Job.run``: ``Whole``."""
        with (
            Spool() as spool,
            ThreadPoolExecutor(threads) as pool,
            self.tuned.products() as bound,
        ):
            if bound is None:
                made = prepare(self.tuned.draft(pool, self.units, self.whole, self.metadata), spool)
            else:
                counter = Counter(listener(None), bound.adapter.nbytes)
                made = prepare_products(
                    bound.layout, bound, spool, self.metadata, counter, self.tuned.budget, pool.map
                )
            self.tuned.check_identity()
            return pack(Whole(entry=made.entry, document=made.document, objects=list(made.objects)))


@dataclass(frozen=True)
class Failed:
    """A job that would fail again: its error."""

    error: TvbankError


def run_job(job: Job, threads: int, version: str) -> bytes | Failed:
    """Do a job; errors that another worker or another time may avoid are raised.

    Args:
        job: what to do.
        threads: to do it on.
        version: of tvbank where the job comes from.

    Raises:
        RuntimeError: this worker has another version of tvbank, which may write other bytes.
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
    """What was packed; None if it was cut short or damaged since, or is something else."""
    data = memoryview(packed)[_DIGEST_BYTES:]
    if hashlib.sha256(data).digest() != packed[:_DIGEST_BYTES]:
        return None
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, RecursionError, ValueError):  # ValueError: text that is no UTF-8
        return None


def needs_all(compressor: Compressor) -> bool:
    """Whether a compressor must see all units before it encodes any."""
    return type(compressor).plan is not Compressor.plan


def _survey_of(bound: Bound, identity: str) -> Surveyed:
    """Of an adapter that is kept as products."""
    units = [(each.unit.name, each.b.nbytes + each.a.nbytes) for each in bound.products or ()]
    whole = [(name, bound.adapter.spec(tensor).nbytes) for name, tensor in bound.whole.items()]
    remark = "; ".join(bound.adapter.remarks)
    return Surveyed(identity=identity, units=units, whole=whole, remark=remark, at_once=True)
