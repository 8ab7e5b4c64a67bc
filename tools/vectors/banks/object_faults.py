"""Banks that open and are invalid: faults of revisions, shards, extras and markers."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

from tools.vectors.banks.tamper import (
    ABSENT,
    ENTRIES,
    EXTRA,
    UNITS,
    WITH_EXTRA,
    BankFault,
    change,
    drop,
    flip,
    put,
    swap,
    tampered,
    without,
)
from tools.vectors.banks.writer import MARKER, Files, Plan, TaskPlan, Tensor, crc32c
from tools.vectors.banks.zstd import SKIPPABLE, zstd_frame, zstd_header
from tools.vectors.frames.encoder import encode, float32


def revision_faults() -> Iterator[BankFault]:
    yield "document-missing", "no revision document", tampered(
        files=lambda files: {
            key: data for key, data in files.items() if key.count("/") != 3 or "delta" in key
        }
    )  # fmt: skip
    yield "document-missing", "no delta document", tampered(files=without("delta/zarr.json"))
    yield "document-size", "a space after the delta document", tampered(
        files=change("delta/zarr.json", lambda data: data + b" ")
    )  # fmt: skip
    yield "document-digest", "a bit of the delta document flipped", tampered(
        files=change("delta/zarr.json", flip(100))
    )  # fmt: skip

    def revision_file(how: Callable[[bytes], bytes]) -> Callable[[Files], Files]:
        def edit(files: Files) -> Files:
            key = next(key for key in files if key.count("/") == 3 and "delta" not in key)
            return files | {key: how(files[key])}

        return edit

    yield "document-size", "the revision document cut short", tampered(
        files=revision_file(lambda data: data[:-1])
    )  # fmt: skip
    yield "document-digest", "a bit of the revision document flipped", tampered(
        files=revision_file(flip(50))
    )  # fmt: skip
    yield "document-syntax", "a revision that is no JSON", tampered(
        revision_bytes=lambda data: data[:-1]
    )  # fmt: skip
    edits: list[tuple[str, str, Callable[[Any], Any]]] = [
        ("document-syntax", "no metadata", drop("metadata")),
        ("document-syntax", "metadata as a list", put("metadata", value=[])),
        ("document-syntax", "no delta document listed", drop("objects", "delta/zarr.json")),
        ("document-syntax", "an object outside of the revision", put(
            "objects", "../../../../etc/passwd", value={"size": 1, "sha256": "0" * 64})),
        ("document-syntax", "an object under an absolute path", put(
            "objects", "/etc/passwd", value={"size": 1, "sha256": "0" * 64})),
        ("document-syntax", "a shard among the objects", put(
            "objects", "delta/c/0", value={"size": 1, "sha256": "0" * 64})),
        ("extra", "an object of an extra that is not there", put(
            "objects", "extras/0/zarr.json", value={"size": 1, "sha256": "0" * 64})),
        ("layout", "a revision of another layout", put("layout", value="0" * 64)),
        ("layout", "another element type than the catalog's", put("element", value="int32")),
        ("layout", "another number of non-zeros than the catalog's", put("nonzeros", value=5)),
        ("layout", "other shards than the catalog's", put("shards", value=[None, None])),
        ("layout", "another compressor than the catalog's", put(
            "compressor", value={"name": "exact"})),
    ]  # fmt: skip
    for reason, why, edit in edits:
        yield reason, why, tampered(revision=edit)
    deep = b'"metadata":{"deep":' + b"[" * 30000 + b"]" * 30000 + b"}"
    yield "document-syntax", "metadata nested 30000 deep", tampered(
        revision_bytes=swap(b'"metadata":{}', deep)
    )  # fmt: skip
    yield "layout", "more non-zeros stored than stated", tampered(
        revision=put("nonzeros", value=3), entry=put("nonzeros", value=3)
    )  # fmt: skip
    yield "layout", "stored_bytes that do not add up", tampered(entry=put("stored_bytes", value=1))
    yield "layout", "parameters that do not add up", tampered(entry=put("parameters", value=1))
    yield "layout", "a unit replaced that is not", tampered(entry=put("replaced", value=["b"]))
    resized = Tensor("b", "bfloat16", (2,), bytes(4))
    yield "address", "entries of a unit that the task replaces", tampered(
        Plan(UNITS, {"t": TaskPlan("float32", ENTRIES, (resized,))})
    )  # fmt: skip
    changed: list[tuple[str, bytes, bytes]] = [
        (
            "a fill value of 1: other readers would see ones",
            b'"fill_value":0.0',
            b'"fill_value":1',
        ),
        ("a delta of another length", b'"shape":[192]', b'"shape":[193]'),
        ("a delta of another type", b'"data_type":"float32"', b'"data_type":"int32"'),
        ("a delta of other chunks", b'"chunk_shape":[64]', b'"chunk_shape":[32]'),
        ("a delta without checksums", b'{},{"name":"crc32c"}]'[2:], b"]"),
        ("another codec", b"tvbank.sass", b"tvbank.pass"),
    ]
    for why, old, new in changed:
        yield "document-syntax", why, tampered(delta_document=swap(old, new))


def shard_faults() -> Iterator[BankFault]:
    yield "object-missing", "no second shard", tampered(files=without("delta/c/1"))
    yield "object-size", "a shard cut short", tampered(
        files=change("delta/c/0", lambda data: data[:-1])
    )  # fmt: skip
    yield "object-size", "a byte before a shard", tampered(
        files=change("delta/c/0", lambda data: b"\0" + data)
    )  # fmt: skip
    yield "object-size", "an empty shard", tampered(files=change("delta/c/0", lambda data: b""))
    yield "object-digest", "a bit of a frame flipped", tampered(
        files=change("delta/c/0", flip(30))
    )  # fmt: skip
    yield "object-digest", "a bit of an index flipped", tampered(
        files=change("delta/c/1", flip(-30))
    )  # fmt: skip
    yield "index-checksum", "a bit of the checksum flipped before the digest", tampered(
        index_bytes=flip(-1)
    )  # fmt: skip
    yield "index-checksum", "an index without its checksum", tampered(
        index_bytes=lambda data: data[:-4] + b"\0\0\0\0"
    )  # fmt: skip
    pairs: list[tuple[str, Callable[[list[tuple[int, int]]], list[tuple[int, int]]]]] = [
        ("the first frame begins at 1", lambda p: [(1, p[0][1] - 1), *p[1:]]),
        ("the second frame overlaps the first", lambda p: [p[0], (p[1][0] - 1, p[1][1] + 1)]),
        ("a hole between the frames", lambda p: [(0, p[0][1] - 1), p[1]]),
        ("the frames are swapped", lambda p: [p[1], p[0]]),
        ("both chunks share a frame", lambda p: [p[0], p[0]]),
        ("the last frame passes the end of the shard", lambda p: [p[0], (p[1][0], 10**6)]),
        ("the last frame ends before the index", lambda p: [p[0], (p[1][0], p[1][1] - 1)]),
        ("the last frame takes a part of the index", lambda p: [p[0], (p[1][0], p[1][1] + 1)]),
        ("an offset of 2^64 - 2", lambda p: [p[0], (2**64 - 2, p[1][1])]),
        ("a length of 2^64 - 1 with an offset", lambda p: [p[0], (p[1][0], 2**64 - 1)]),
        ("an offset of 2^64 - 1 with a length", lambda p: [p[0], (2**64 - 1, p[1][1])]),
        ("a frame of no bytes", lambda p: [p[0], (p[1][0], 0)]),
        ("a frame that no chunk claims", lambda p: [p[0], ABSENT]),
        ("frames that no chunk claims", lambda p: [ABSENT, ABSENT]),
    ]
    only_first = Plan(UNITS, {"t": TaskPlan("float32", {"w": ENTRIES["w"]})})
    for why, edit in pairs:
        yield "index-range", why, tampered(only_first, index=edit)
    only_last = Plan(UNITS, {"t": TaskPlan("float32", {"b": ENTRIES["b"]})})
    yield "address", "a frame behind the last unit", tampered(
        only_last, index=lambda p: [ABSENT, p[0]]
    )  # fmt: skip
    yield "frame-checksum", "a chunk of 27 bytes", tampered(
        only_first, chunk=lambda data, number: data[:27] if number == 1 else data
    )  # fmt: skip
    yield "frame-checksum", "a chunk of 3 bytes", tampered(
        only_first, chunk=lambda data, number: data[:3] if number == 1 else data
    )  # fmt: skip
    yield "frame-checksum", "a chunk of no bytes", tampered(
        only_first, chunk=lambda data, number: b"" if number == 1 else data
    )  # fmt: skip
    header = encode("float32", 64, {3: 1}, ("bitmap", 0), ("raw", 0))[:23]
    yield "frame-truncated", "a frame shorter than its header", tampered(
        only_first, frame=lambda frame, number: header if number == 1 else frame
    )  # fmt: skip

    def in_frame(how: Callable[[bytes], bytes]) -> Files:
        return tampered(frame=lambda frame, number: how(frame) if number == 1 else frame)

    yield "frame-checksum", "a bit flipped before the digest", tampered(
        chunk=lambda data, number: flip(26)(data) if number == 1 else data
    )  # fmt: skip
    yield "frame-checksum", "the checksum of another frame", tampered(
        chunk=lambda data, number: data[:-4] + crc32c(b"") if number == 1 else data
    )  # fmt: skip
    short = encode("float32", 32, {3: 1}, ("bitmap", 0), ("raw", 0))
    yield "entries-mismatch", "a frame of half a chunk", in_frame(lambda _: short)
    integers = encode("int32", 64, {3: 1}, ("bitmap", 0), ("raw", 0))
    yield "element-type", "a frame of integers in a task of floats", in_frame(lambda _: integers)
    yield "frame-version", "a frame of version 2", in_frame(lambda frame: b"\2" + frame[1:])
    yield "frame-truncated", "a frame cut short", in_frame(lambda frame: frame[:-1])
    yield "frame-trailing", "a byte after a frame", in_frame(lambda frame: frame + b"\0")
    yield "mask-section", "a mask section of another size", in_frame(
        lambda frame: frame[:20] + struct.pack("<I", frame[20] + 1) + frame[24:]
    )  # fmt: skip
    beyond = encode("float32", 64, {35: float32(0.5), 36: float32(0.5)}, ("gaps", 4), ("sign", 0))
    yield "address", "a non-zero just behind the end of a unit", in_frame(lambda _: beyond)
    yield "address", "a non-zero at the end of a chunk that the unit does not fill", tampered(
        Plan(UNITS, {"t": TaskPlan("float32", {"b": {2: 1, 63: 1}})})
    )  # fmt: skip


def extra_faults() -> Iterator[BankFault]:
    def chunk(how: Callable[[bytes], bytes]) -> Files:
        return tampered(WITH_EXTRA, extra_chunk=how)

    content = EXTRA.data
    yield "object-missing", "no chunk of an extra", tampered(
        WITH_EXTRA, files=without("extras/0/c/0/0")
    )  # fmt: skip
    yield "document-missing", "no document of an extra", tampered(
        WITH_EXTRA, files=without("extras/0/zarr.json")
    )  # fmt: skip
    yield "object-digest", "a bit of an extra flipped", tampered(
        WITH_EXTRA, files=change("extras/0/c/0/0", flip(12))
    )  # fmt: skip
    yield "object-size", "an extra cut short", tampered(
        WITH_EXTRA, files=change("extras/0/c/0/0", lambda data: data[:-1])
    )  # fmt: skip
    yield "extra", "not a zstd frame", chunk(lambda _: content)
    yield "extra", "a zstd frame cut short", chunk(lambda data: data[:-5])
    yield "extra", "a wrong checksum inside", chunk(flip(-1))
    yield "extra", "too few bytes inside", chunk(lambda _: zstd_frame(content[:-1]))
    yield "extra", "too many bytes inside", chunk(lambda _: zstd_frame(content + b"\0"))
    yield "extra", "two zstd frames", chunk(lambda data: data + data)
    yield "extra", "bytes after the zstd frame", chunk(lambda data: data + b"\0")
    yield "extra", "a zstd frame and an empty one", chunk(lambda data: data + zstd_frame(b""))
    yield "extra", "a zstd frame and a skippable one", chunk(lambda data: data + SKIPPABLE)
    wide = bytes([0b1000_0100, 14 << 3]) + len(content).to_bytes(4, "little")
    yield "extra", "a window of 16 MiB", chunk(zstd_header(wide))
    named = bytes([0b0010_0101, 7, len(content)])
    yield "extra", "a zstd frame that names a dictionary", chunk(zstd_header(named))
    reserved = bytes([0b0010_1100, len(content)])
    yield "extra", "a reserved bit of a zstd frame", chunk(zstd_header(reserved))
    yield "extra", "a reserved kind of zstd block", chunk(
        lambda data: data[:6] + bytes([data[6] | 0b110]) + data[7:]
    )  # fmt: skip
    yield "extra", "a bomb: 1 TiB stated", chunk(lambda _: zstd_frame(content, 2**40))
    yield "extra", "fewer bytes than stated", chunk(lambda _: zstd_frame(content[:-4], 24))
    yield "extra", "more bytes than stated", chunk(lambda _: zstd_frame(bytes(4096), 24))
    yield "extra", "an extra whose chunk is not listed", tampered(
        WITH_EXTRA, revision=drop("objects", "extras/0/c/0/0")
    )  # fmt: skip

    def without_objects(document: Any) -> Any:
        document = copy.deepcopy(document)
        objects = document["objects"]
        for key in [key for key in objects if key.startswith("extras/0/")]:
            del objects[key]
        return document

    yield "extra", "an extra of which nothing is listed", tampered(
        WITH_EXTRA, revision=without_objects
    )  # fmt: skip
    yield "extra", "a chunk beyond the extra's shape", tampered(
        WITH_EXTRA, objects=lambda objects: objects | {"extras/0/c/1/0": zstd_frame(content)}
    )  # fmt: skip
    yield (
        "extra",
        "an extra without a group document",
        tampered(
            WITH_EXTRA,
            objects=lambda objects: {k: v for k, v in objects.items() if k != "extras/zarr.json"},
        ),
    )
    yield "extra", "2^40 rows of which one chunk is listed", tampered(
        WITH_EXTRA, revision=put("extras", 0, "shape", value=[2**40, 3])
    )  # fmt: skip
    yield "document-syntax", "another shape in the document of an extra", tampered(
        WITH_EXTRA, extra_document=swap(b'"shape":[2,3]', b'"shape":[3,2]')
    )  # fmt: skip
    yield "document-syntax", "an extra of an unknown type", tampered(
        WITH_EXTRA, revision=put("extras", 0, "dtype", value="object")
    )  # fmt: skip
    yield (
        "document-syntax",
        "an extra with a path as its key",
        tampered(
            WITH_EXTRA,
            revision=put("objects", "extras/0/../../x", value={"size": 0, "sha256": "0" * 64}),
        ),
    )
    yield "limit", "a chunk of 2 GiB", tampered(
        WITH_EXTRA, revision=put("extras", 0, "shape", value=[1, 2**29])
    )  # fmt: skip
    yield "layout", "two extras of one name", tampered(
        Plan(UNITS, {"t": TaskPlan("float32", ENTRIES, (EXTRA, EXTRA))})
    )  # fmt: skip


def marker_faults() -> Iterator[BankFault]:
    spaced = json.dumps(json.loads(MARKER)).encode()
    yield "marker", "no tasks/zarr.json", tampered(
        files=lambda files: {k: v for k, v in files.items() if k != "tasks/zarr.json"}
    )  # fmt: skip
    yield "marker", "tasks/zarr.json with white space", tampered(
        files=lambda files: files | {"tasks/zarr.json": spaced}
    )  # fmt: skip
    yield "marker", "no document of a task", tampered(
        files=lambda files: {k: v for k, v in files.items() if k != "tasks/t/zarr.json"}
    )  # fmt: skip
    yield "marker", "a task's document with attributes", tampered(
        files=lambda files: files | {"tasks/t/zarr.json": MARKER.replace(b"{}", b'{"a":1}')}
    )  # fmt: skip
    yield (
        "document-syntax",
        "an extras group with attributes",
        tampered(
            WITH_EXTRA,
            objects=lambda objects: (
                objects | {"extras/zarr.json": MARKER.replace(b"{}", b'{"consolidated":true}')}
            ),
        ),
    )
