"""What an earlier build left in the work folder, held to the job that it is the result of.

The folder may have been damaged or changed since: whatever is not what the job makes is refused,
and the job is done again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

from tvbank.bank.documents import ExtraRecord, decode_revision, record_of
from tvbank.bank.extras import decompress
from tvbank.bank.making import make_bank
from tvbank.bank.publish import publish_task
from tvbank.bank.verify import verify
from tvbank.bank.writer import Prepared, Spool
from tvbank.bank.zarr_documents import (
    MAX_CHUNK_BYTES,
    chunk_bytes,
    chunk_count,
    chunk_keys,
    stored_dtype,
)
from tvbank.building._jobs import Encoded, Whole
from tvbank.building.manifest import PlannedTask
from tvbank.coding import decode_sparse, read_header
from tvbank.dtypes import DTYPES
from tvbank.errors import FormatError
from tvbank.layout import Layout, check_shape
from tvbank.storage import MemoryStorage

#: Bytes of a result: so many for each byte of the fine-tune that the job reads, and for the rest.
_BYTES_PER_BYTE, _BYTES_BESIDE = 8, 2**28


def most_bytes(read: int) -> int:
    """Bytes that the result of a job may have which reads so many of the fine-tune."""
    return _BYTES_PER_BYTE * read + _BYTES_BESIDE


def check_frames(result: Encoded, layout: Layout, units: Iterable[str], element: str) -> None:
    """Check the result of a job that encodes units.

    Args:
        result: of the job.
        layout: of the base.
        units: that the job encodes.
        element: of the task's entries.

    Raises:
        FormatError: frames of other chunks, that do not decode, or reach beyond their unit; extras.
    """
    if result.extras:
        raise FormatError("extra", "extras where there are only frames")
    units = list(units)
    if set(result.state) != set(units if element == "int32" else ()):
        raise FormatError("state", "digests of other units than those of this job")
    unit_of = {
        chunk: unit for unit in map(layout.by_name.__getitem__, units)
        for chunk in layout.chunks(unit)
    }  # fmt: skip
    last = -1
    for chunk, frame in result.frames:
        if chunk not in unit_of or chunk <= last:
            raise FormatError("index-range", f"chunk {chunk} is not of this job, or not in order")
        last, unit = chunk, unit_of[chunk]
        header = read_header(frame, layout.chunk_length)
        last_one = header.extent - 1
        if not header.given_base:  # others are decoded when the base is at hand
            positions, _ = decode_sparse(frame, layout.chunk_length)
            last_one = int(positions[-1]) if len(positions) else -1
        if header.element != element or last_one < 0:
            raise FormatError("count", f"chunk {chunk} has another element, or no entries")
        if chunk * layout.chunk_length - unit.offset + last_one >= unit.size:
            raise FormatError("address", f"chunk {chunk} reaches beyond unit {unit.name!r}")


def check_whole_tensors(result: Encoded, expected: Mapping[str, int]) -> None:
    """Check the result of a job that keeps tensors whole.

    Args:
        result: of the job.
        expected: names of the tensors, and their bytes.

    Raises:
        FormatError: frames; other tensors, or such as do not decode.
    """
    if result.frames or [record.name for record, _ in result.extras] != list(expected):
        raise FormatError("extra", "other tensors than those of this job")
    for record, chunks in result.extras:
        check_shape(record.name, record.shape)
        if record.dtype not in DTYPES or _bytes(record) != expected[record.name]:
            raise FormatError("extra", f"{record.name!r} has another shape or type")
        if chunk_bytes(record) > MAX_CHUNK_BYTES or len(chunks) != chunk_count(record):
            raise FormatError("extra", f"{record.name!r} has another number of chunks")
        if [key for key, _ in chunks] != list(islice(chunk_keys(record), len(chunks))):
            raise FormatError("extra", f"{record.name!r} has chunks under other keys")
        for _, data in chunks:
            decompress(data, chunk_bytes(record))


def _bytes(record: ExtraRecord) -> int:
    return record.size * stored_dtype(record.dtype).itemsize


def check_revision(result: Whole, layout: Layout, plan: PlannedTask) -> None:
    """Check the result of a job that encodes a whole task: it makes a sound bank of that task.

    Raises:
        TvbankError: it does not.
    """
    task, compressor = plan.name, plan.compressor
    revision = decode_revision(result.document, "zarr.json", task)
    shards = {f"delta/c/{number}": record for number, record in enumerate(revision.shards)}
    listed = revision.objects | {key: record for key, record in shards.items() if record}
    if {key: record_of(data) for key, data in result.objects} != listed:
        raise FormatError("object-digest", "other objects than its document lists")
    if len(result.objects) != len(listed) or result.entry.element != compressor.element:
        raise FormatError("object-digest", "an object twice, or another element")
    if revision.metadata != plan.metadata:
        raise FormatError("document-syntax", "other metadata than the manifest has")
    names = {compressor.describe()["name"], *(["adapter"] if plan.as_is else [])}
    if revision.compressor.get("name") not in names:
        raise FormatError("document-syntax", "made by another compressor")
    storage = MemoryStorage()
    make_bank(storage, layout.document)
    with Spool() as spool:
        for key, data in result.objects:
            spool.add(key, data)
        prepared = Prepared(result.entry, result.document, spool)
        publish_task(storage, layout, task, prepared, replace=False)
    for fault in verify(storage):
        raise FormatError(fault.reason, fault.message)
