"""Units kept whole beside the delta: heads the base lacks, changed buffers, resized embeddings.

Each is a plain zarr array of whole rows compressed with zstd (spec/container.md, "Extras").
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.documents import ExtraRecord, ObjectRecord, Revision, check_stored
from tvbank.bank.storage import ObjectNotFoundError, Storage
from tvbank.bank.zarr_documents import chunk_keys, chunk_shape, stored_dtype
from tvbank.bank.zstd import compress, decompress
from tvbank.dtypes import DTYPES
from tvbank.errors import CorruptionError, FormatError, UnitNotFoundError


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


class Extras(Mapping[str, NDArray[Any]]):
    """The extras of one task: name -> array in its own dtype, read at access."""

    def __init__(self, storage: Storage, folder: str, task: str, revision: Revision) -> None:
        self._storage, self._folder, self._task = storage, folder, task
        self._objects = revision.objects
        self._records = {record.name: (j, record) for j, record in enumerate(revision.extras)}

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
        dtype, shape = self._checked_dtype(record), chunk_shape(record)
        chunks = [(key, self._object(f"extras/{number}/{key}")) for key in chunk_keys(record)]
        if not chunks:
            return np.zeros(record.shape, DTYPES[record.dtype])
        parts = []
        for key, stored in chunks:
            full = f"{self._folder}/extras/{number}/{key}"
            data = self._read(full, stored)
            parts.append(self._decode(data, dtype, shape, record, full))
        whole = parts[0] if not shape else np.concatenate(parts)[: record.shape[0]]
        return whole.reshape(record.shape).view(DTYPES[record.dtype])

    def _find(self, name: str) -> tuple[int, ExtraRecord]:
        try:
            return self._records[name]
        except KeyError:
            raise UnitNotFoundError(
                f"task {self._task!r} keeps no unit {name!r} whole; it keeps "
                f"{', '.join(map(repr, self)) or 'none'}"
            ) from None

    def _checked_dtype(self, record: ExtraRecord) -> np.dtype[Any]:
        try:
            return stored_dtype(record.dtype)
        except KeyError:
            raise CorruptionError(
                "extra", f"task {self._task!r}, extra {record.name!r}: unknown element type "
                f"{record.dtype!r}", key=self._folder, task=self._task, unit=record.name,
            ) from None  # fmt: skip

    def _object(self, key: str) -> ObjectRecord:
        """The record must exist before anything is allocated for the chunk."""
        try:
            return self._objects[key]
        except KeyError:
            raise CorruptionError(
                "extra", f"task {self._task!r}: the revision does not list {key!r}",
                key=f"{self._folder}/{key}", task=self._task,
            ) from None  # fmt: skip

    def _read(self, key: str, stored: ObjectRecord) -> bytes:
        try:
            return check_stored(self._storage.get(key), stored, key, self._task)
        except ObjectNotFoundError as error:
            raise CorruptionError(
                "object-missing", f"task {self._task!r}: {key} is missing from the bank",
                key=key, task=self._task,
            ) from error  # fmt: skip

    def _decode(
        self,
        data: bytes,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        record: ExtraRecord,
        key: str,
    ) -> NDArray[Any]:
        try:
            out = decompress(data, math.prod(shape) * dtype.itemsize)
        except FormatError as error:
            raise CorruptionError(
                error.reason,
                f"task {self._task!r}, extra {record.name!r}: {key} does not decode: {error}",
                key=key, task=self._task, unit=record.name,
            ) from error  # fmt: skip
        return out.view(dtype).reshape(shape)
