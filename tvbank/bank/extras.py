"""Units kept whole beside the delta: heads the base lacks, changed buffers, resized embeddings.

Each extra is a plain zarr array whose chunks are compressed with zstd (spec/container.md,
"Extras"); a chunk is decompressed into no more bytes than expected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank._zstd import compress_frame, decompress_frame
from tvbank.bank.ahead import together
from tvbank.bank.allocating import zeros
from tvbank.bank.documents import ExtraRecord, ObjectRecord, Revision
from tvbank.bank.snapshot import read_stored
from tvbank.bank.zarr_documents import (
    DELTA,
    EXTRAS,
    MARKER,
    MAX_CHUNK_BYTES,
    chunk_bytes,
    chunk_count,
    chunk_keys,
    chunk_shape,
    extra_document,
    stored_dtype,
)
from tvbank.bank.zstd_header import content_size
from tvbank.dtypes import DTYPES
from tvbank.errors import CorruptionError, FormatError, UnitNotFoundError
from tvbank.storage import Storage


def encode_extra(record: ExtraRecord, array: NDArray[Any]) -> Iterator[tuple[str, bytes]]:
    """The chunks of an extra: key relative to its array, compressed bytes."""
    stored = array.view(stored_dtype(record.dtype))
    keys, shape = chunk_keys(record), chunk_shape(record)
    for number, key in enumerate(keys):
        chunk = stored
        if shape:
            chunk = stored[number * shape[0] : (number + 1) * shape[0]]
            if len(chunk) < shape[0]:  # zarr pads the last chunk of a grid
                padding = [(0, shape[0] - len(chunk))] + [(0, 0)] * (len(shape) - 1)
                chunk = np.pad(chunk, padding)
        yield key, compress(np.ascontiguousarray(chunk).tobytes())


def check_extras(revision: Revision, key: str, task: str) -> None:
    """Check that a revision lists exactly the objects that its extras call for.

    Raises:
        CorruptionError: ``document-syntax`` without a delta, ``limit`` for a chunk that is too
            large, else ``extra``.
    """

    def refuse(reason: str, what: str) -> CorruptionError:
        return CorruptionError(reason, f"task {task!r}: {key} {what}", key=key, task=task)

    if DELTA not in revision.objects:
        raise refuse("document-syntax", f"does not list {DELTA}")
    others = 3 if revision.products else 1
    check_objects(revision.extras, revision.objects, others, refuse)


def check_objects(
    extras: Sequence[ExtraRecord],
    objects: Mapping[str, ObjectRecord],
    others: int,
    refuse: Callable[[str, str], CorruptionError],
) -> None:
    """Check that ``objects`` are those that extras call for, and ``others`` more.

    Raises:
        CorruptionError: what ``refuse`` makes of a reason and a text: ``limit`` or ``extra``.
    """
    for extra in extras:
        if chunk_bytes(extra) > MAX_CHUNK_BYTES:
            raise refuse("limit", f"has an extra {extra.name!r} with rows of 2 GiB or more")
    # Counted before the keys are made: there may be no end of them.
    chunks = sum(1 + chunk_count(extra) for extra in extras)
    count = others + (1 + chunks if extras else 0)
    if count != len(objects):
        raise refuse("extra", f"lists {len(objects)} objects, not {count}")
    for missing in (key for key in _keys(extras) if key not in objects):
        raise refuse("extra", f"does not list {missing}")


def extras_documents(extras: Sequence[ExtraRecord]) -> dict[str, bytes]:
    """The zarr documents of extras, by key; fixed bytes."""
    documents = {EXTRAS: MARKER} if extras else {}
    for number, extra in enumerate(extras):
        documents[f"extras/{number}/zarr.json"] = extra_document(extra)
    return documents


def _keys(extras: Sequence[ExtraRecord]) -> Iterator[str]:
    """Keys of the objects that extras call for."""
    if extras:
        yield EXTRAS
    for number, extra in enumerate(extras):
        yield f"extras/{number}/zarr.json"
        yield from (f"extras/{number}/{key}" for key in chunk_keys(extra))


class Extras(Mapping[str, NDArray[Any]]):
    """The extras of one task or router: name -> array in its own dtype, read at access.

    They have passed ``check_objects``. ``task`` is None for a router.
    """

    def __init__(
        self,
        storage: Storage,
        folder: str,
        task: str | None,
        extras: Sequence[ExtraRecord],
        objects: Mapping[str, ObjectRecord],
    ) -> None:
        self._storage, self._folder, self._task, self._objects = storage, folder, task, objects
        self._whose = f"task {task!r}" if task is not None else folder
        self._records = {record.name: (j, record) for j, record in enumerate(extras)}

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, name: object) -> bool:
        return name in self._records

    def record(self, name: str) -> ExtraRecord:
        """Dtype and shape, without reading the array.

        Raises:
            UnitNotFoundError: the task has no such extra.
        """
        return self._find(name)[1]

    def __getitem__(self, name: str) -> NDArray[Any]:
        number, record = self._find(name)
        keys = [f"extras/{number}/{key}" for key in chunk_keys(record)]
        read = together(self._storage.parallel, [partial(self._read, key) for key in keys])
        what, remedy = f"extra {name!r}", "Task.extras.record has its shape"
        beside = chunk_bytes(record)  # one at a time
        whole = zeros(record.size, stored_dtype(record.dtype), what, remedy, beside)
        first = 0
        for key, data in zip(keys, read, strict=True):
            part = self._decode(data, record, key)  # the last one is padded
            whole[first : first + len(part)] = part[: len(whole) - first]
            first += len(part)
            del part  # before the next one is there
        return whole.reshape(record.shape).view(DTYPES[record.dtype])

    def chunks(self, name: str) -> Iterator[tuple[str, bytes]]:
        """The chunks as they are stored: key relative to the array, compressed bytes.

        Raises:
            UnitNotFoundError: the task has no such extra.
            CorruptionError: one is missing or damaged.
        """
        number, record = self._find(name)
        for key in chunk_keys(record):
            yield key, self._read(f"extras/{number}/{key}")

    def check(self, name: str) -> None:
        """Read and decode an array chunk by chunk, keeping none of it.

        Raises:
            UnitNotFoundError: the task has no such extra.
            CorruptionError: what is stored is missing or damaged.
            TooLargeError: there is not enough memory for a chunk.
        """
        number, record = self._find(name)
        for key in chunk_keys(record):
            relative = f"extras/{number}/{key}"
            self._decode(self._read(relative), record, relative)

    def _find(self, name: str) -> tuple[int, ExtraRecord]:
        try:
            return self._records[name]
        except KeyError:
            raise UnitNotFoundError(
                f"{self._whose} keeps no unit {name!r} whole; it keeps "
                f"{', '.join(map(repr, self)) or 'none'}"
            ) from None

    def _read(self, relative: str) -> bytes:
        key = f"{self._folder}/{relative}"
        return read_stored(self._storage, key, self._objects[relative], self._task)

    def _decode(self, data: bytes, record: ExtraRecord, relative: str) -> NDArray[Any]:
        key = f"{self._folder}/{relative}"
        try:
            out = decompress(data, chunk_bytes(record))
        except FormatError as error:
            raise CorruptionError(
                error.reason,
                f"{self._whose}, extra {record.name!r}: {key} does not decode: {error}",
                key=key, task=self._task, unit=record.name,
            ) from error  # fmt: skip
        return out.view(stored_dtype(record.dtype))


#: A block takes 4 bytes at least and holds 2**17 at most.
_LARGEST_RATIO = 2**15


def compress(data: bytes) -> bytes:
    """One frame that states its content's size and checksum."""
    return compress_frame(data, level=3, checksum=True)


def decompress(data: bytes, size: int) -> NDArray[np.uint8]:
    """Undo ``compress``.

    The content's size is compared before anything is allocated: a small frame cannot claim much
    memory.

    Args:
        data: one frame.
        size: bytes of the content.

    Raises:
        FormatError: ``extra``; the data are damaged, hold another number of bytes, or are not one
            frame of which this is known (see ``zstd_header``).
        TooLargeError: there is not enough memory.
    """
    stated = content_size(data)
    if not size:  # the reference refuses it, too: an extra without elements has no chunk
        raise FormatError("extra", "a chunk is never empty")
    if stated != size or size > len(data) * _LARGEST_RATIO:
        raise FormatError("extra", f"{len(data)} bytes state {stated} where {size} belong")
    what, remedy = "a chunk of an extra", "see Task.extras.record for its shape"
    out = zeros(size, np.dtype(np.uint8), what, remedy)
    try:
        decompress_frame(data, out)
    except ValueError as error:
        raise FormatError("extra", str(error)) from error
    return out
