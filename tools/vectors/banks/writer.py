"""A slow writer of small banks, written from spec/container.md; every stage can be tampered with.

It shares no code with tvbank's writer nor with the reference decoder.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tools.vectors.banks.zstd import zstd_frame
from tools.vectors.frames.encoder import sass

Chunk = dict[int, int]
Files = dict[str, bytes]
Json = dict[str, Any]

MARKER = b'{"attributes":{},"node_type":"group","zarr_format":3}'
ITEM_BYTES = {"bool": 1, "uint8": 1, "float8_e4m3fn": 1, "float16": 2, "bfloat16": 2, "int16": 2,
              "float32": 4, "int32": 4, "int64": 8, "float64": 8, "complex64": 8}  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """``data`` is raw and little-endian."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data) // ITEM_BYTES[self.dtype]


@dataclass(frozen=True)
class ProductPlan:
    """``b`` and ``a`` are raw and little-endian, B first.

    Of packed factors, ``b`` is all of them as they are stored, and ``numbers`` what they are:
    levels of B and A, each component's step.
    """

    unit: str
    dtype: str
    rank: int
    scale: float
    b: bytes
    a: bytes
    transposed: bool = False
    numbers: tuple[Sequence[Sequence[int]], Sequence[float]] | None = None


@dataclass(frozen=True)
class TaskPlan:
    """``entries``: unit -> position -> pattern; ``stored_zeros``: chunks of zeros not left out."""

    element: str
    entries: Mapping[str, Chunk]
    extras: tuple[Tensor, ...] = ()
    compressor: Json = field(default_factory=lambda: {"name": "tswitch", "drop": 0.9})
    metadata: Json = field(default_factory=dict)
    stored_zeros: frozenset[int] = frozenset()
    products: tuple[ProductPlan, ...] = ()
    parent: str | None = None
    adapter: Json = field(default_factory=dict)
    state: Json | None = None


@dataclass(frozen=True)
class RouterPlan:
    """``arrays``: keys, owners and, for a metric, centre and matrix."""

    tasks: tuple[str, ...]
    arrays: tuple[Tensor, ...]
    at: tuple[str, ...]
    pooling: str = "auto"
    width: int = 2
    neighbours: int = 2
    spread: float = 0.75
    rejection: Json | None = field(default_factory=lambda: {"evidence": -0.5, "distance": 3.25})
    method: Json = field(default_factory=lambda: {"metric": "discriminant", "seed": 0})


@dataclass(frozen=True)
class Plan:
    units: tuple[Tensor, ...]
    tasks: Mapping[str, TaskPlan]
    whole: tuple[Tensor, ...] = ()
    tied: Mapping[str, str] = field(default_factory=dict)
    chunk_length: int = 64
    chunks_per_shard: int = 2
    generation: int = 1
    routers: Mapping[str, RouterPlan] = field(default_factory=dict)


class Edits:
    """Functions that change what a stage produced; a stage without one keeps it."""

    def __init__(self, **stages: Callable[..., Any]) -> None:
        self._stages = stages

    def apply(self, stage: str, value: Any, *details: Any) -> Any:
        return self._stages[stage](value, *details) if stage in self._stages else value


def write_bank(plan: Plan, edits: Edits | None = None) -> Files:
    """The files of a bank. Stages, in order:

    layout, layout_bytes; per task: frame(frame, chunk number), chunk(bytes, chunk number),
    index(pairs), index_bytes, shard(bytes, shard number), delta_document, extra_document,
    extra_chunk, product_bytes, products_document, objects(files), revision,
    revision_bytes, entry; per router: router_objects(files), router, router_entry; then root,
    root_bytes, files.
    """
    edits = edits or Edits()
    offsets, layout = _layout(plan)
    layout_bytes = edits.apply("layout_bytes", _group(edits.apply("layout", layout)))
    files: Files = {"base/zarr.json": layout_bytes}
    if plan.tasks:
        files["tasks/zarr.json"] = MARKER
    catalog: Json = {}
    for name, task in plan.tasks.items():
        entry, revision_files = _revision(plan, task, catalog, offsets, layout, layout_bytes, edits)
        catalog[name] = edits.apply("entry", entry)
        files[f"tasks/{name}/zarr.json"] = MARKER
        for key, data in revision_files.items():
            files[f"tasks/{name}/{entry['revision']}/{key}"] = data
    routers: Json = {}
    if plan.routers:
        files["routers/zarr.json"] = MARKER
    for name, router in plan.routers.items():
        entry, router_files = _router(router, catalog, layout_bytes, edits)
        routers[name] = edits.apply("router_entry", entry)
        files[f"routers/{name}/zarr.json"] = MARKER
        for key, data in router_files.items():
            files[f"routers/{name}/{entry['revision']}/{key}"] = data
    features = sorted({name for task in plan.tasks.values() for name in _features(task)})
    root = {
        "digest": "0" * 64,
        "format": "1.1" if features else "1.0",
        "required_features": features,
        "generation": plan.generation,
        "layout": _record(layout_bytes),
        "tasks": catalog,
    } | ({"routers": routers} if routers else {})
    files["zarr.json"] = seal(edits.apply("root_bytes", _group(edits.apply("root", root))))
    return dict(sorted(edits.apply("files", files).items()))


def seal(root: bytes) -> bytes:
    """Put the digest in its place."""
    return root.replace(b"0" * 64, hashlib.sha256(root).hexdigest().encode(), 1)


def dense_sha256(size: int, chunk: Chunk) -> str:
    dense = struct.pack(f"<{size}I", *(chunk.get(position, 0) for position in range(size)))
    return hashlib.sha256(dense).hexdigest()


def crc32c(data: bytes) -> bytes:
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ 0x82F63B78 * (register & 1)
    return (register ^ 0xFFFFFFFF).to_bytes(4, "little")


def _layout(plan: Plan) -> tuple[dict[str, int], Json]:
    offsets: dict[str, int] = {}
    end = 0
    for unit in plan.units:
        offsets[unit.name] = end
        end += -(-unit.size // plan.chunk_length) * plan.chunk_length
    layout = {
        "chunk_length": plan.chunk_length,
        "shard_length": plan.chunk_length * plan.chunks_per_shard,
        "length": end,
        "units": [
            {
                "name": unit.name,
                "dtype": unit.dtype,
                "shape": list(unit.shape),
                "offset": offsets[unit.name],
                "sha256": hashlib.sha256(unit.data).hexdigest(),
            }
            for unit in plan.units
        ],
        "whole": [
            {
                "name": unit.name,
                "dtype": unit.dtype,
                "shape": list(unit.shape),
                "sha256": hashlib.sha256(unit.data).hexdigest(),
            }
            for unit in plan.whole
        ],
        "tied": dict(plan.tied),
    }
    return offsets, layout


def _features(task: TaskPlan) -> list[str]:
    packed = any(product.dtype == "packed" for product in task.products)
    known = {"chains": task.parent is not None, "packed-products": packed}
    return [name for name, used in (known | {"products": bool(task.products)}).items() if used]


def _revision(
    plan: Plan, task: TaskPlan, catalog: Json, offsets: dict[str, int], layout: Json,
    layout_bytes: bytes, edits: Edits,
) -> tuple[Json, Files]:  # fmt: skip
    files: Files = {}
    shards: list[Json | None] = []
    per_shard, length = plan.chunks_per_shard, layout["length"]
    chunks = _chunks(plan, task, offsets)
    for number in range(-(-length // (plan.chunk_length * per_shard))):
        numbers = range(number * per_shard, (number + 1) * per_shard)
        shard = _shard(plan, task.element, [(i, chunks.get(i)) for i in numbers], edits)
        if shard is not None:
            shard = edits.apply("shard", shard, number)
            files[f"delta/c/{number}"] = shard
        shards.append(None if shard is None else _record(shard))
    objects = {"delta/zarr.json": edits.apply("delta_document", _delta(plan, task.element, length))}
    if task.extras:
        objects["extras/zarr.json"] = MARKER
    for number, extra in enumerate(task.extras):
        document = edits.apply("extra_document", _extra_document(extra))
        objects[f"extras/{number}/zarr.json"] = document
        if extra.data:
            key = "/".join([f"extras/{number}/c", *("0" for _ in extra.shape)])
            objects[key] = edits.apply("extra_chunk", zstd_frame(extra.data))
    objects |= _products(task, edits)
    objects = edits.apply("objects", objects)
    sizes = {unit.name: unit.size for unit in plan.units}
    nonzeros = sum(map(len, task.entries.values()))
    nonzeros += sum(sizes.get(product.unit, 0) for product in task.products)
    features: Json = {"features": _features(task)} if _features(task) else {}
    if task.parent is not None:
        found = catalog[task.parent]["revision"]
        features["parent"] = {"task": task.parent, "revision": found}
    revision = {
        "layout": hashlib.sha256(layout_bytes).hexdigest(),
        "element": task.element,
        "shards": shards,
        "nonzeros": nonzeros,
        "objects": {key: _record(data) for key, data in objects.items()},
        "extras": [
            {"name": extra.name, "dtype": extra.dtype, "shape": list(extra.shape)}
            for extra in task.extras
        ],
        "compressor": task.compressor,
        "metadata": task.metadata,
    } | features
    if task.products:
        revision["products"] = [_product(product) for product in task.products]
    if task.adapter:
        revision["adapter"] = task.adapter
    if task.state is not None:
        revision["state"] = task.state
    data = edits.apply("revision_bytes", _group(edits.apply("revision", revision)))
    files |= objects | {"zarr.json": data}
    units = {unit.name for unit in plan.units}
    replaced = [extra.name for extra in task.extras if extra.name in units]
    return {
        "revision": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "element": task.element,
        "shards": shards,
        "nonzeros": nonzeros,
        "parameters": sum(unit.size for unit in plan.units if unit.name not in replaced)
        + sum(extra.size for extra in task.extras),
        "stored_bytes": sum(map(len, files.values())),
        "replaced": replaced,
        "compressor": task.compressor,
    } | features, files


def _products(task: TaskPlan, edits: Edits) -> Files:
    """The two objects of a task's products."""
    if not task.products:
        return {}
    parts = [product.b + product.a for product in task.products]
    data = edits.apply("product_bytes", b"".join(part + crc32c(part) for part in parts))
    document = (
        '{"attributes":{},"chunk_grid":{"name":"regular","configuration":{"chunk_shape":['
        f'{len(data)}]}}}},"chunk_key_encoding":{{"name":"default","configuration":{{"separator":"/"}}}},'
        '"codecs":[{"name":"bytes"}],"data_type":"uint8","fill_value":0,"node_type":"array",'
        f'"shape":[{len(data)}],"zarr_format":3}}'
    ).encode()
    return {
        "products/zarr.json": edits.apply("products_document", document),
        "products/c/0": data,
    }


def _product(product: ProductPlan) -> Json:
    record = {
        "unit": product.unit,
        "dtype": product.dtype,
        "rank": product.rank,
        "scale": product.scale,
    }
    if product.dtype == "packed":
        record["bytes"] = len(product.b) + len(product.a) + 4
    return record | ({"transposed": True} if product.transposed else {})


def _router(
    router: RouterPlan, catalog: Json, layout_bytes: bytes, edits: Edits
) -> tuple[Json, Files]:
    objects: Files = {"extras/zarr.json": MARKER}
    for number, array in enumerate(router.arrays):
        objects[f"extras/{number}/zarr.json"] = _extra_document(array)
        key = "/".join([f"extras/{number}/c", *("0" for _ in array.shape)])
        objects[key] = zstd_frame(array.data)
    objects = edits.apply("router_objects", objects)
    document = {
        "layout": hashlib.sha256(layout_bytes).hexdigest(),
        "tasks": [{"name": n, "revision": catalog[n]["revision"]} for n in router.tasks],
        "recipe": {"at": list(router.at), "pooling": router.pooling, "width": router.width},
        "neighbours": router.neighbours,
        "spread": router.spread,
        "rejection": router.rejection,
        "objects": {key: _record(data) for key, data in sorted(objects.items())},
        "extras": [
            {"name": array.name, "dtype": array.dtype, "shape": list(array.shape)}
            for array in router.arrays
        ],
        "method": router.method,
    }
    data = _group(edits.apply("router", document))
    files = objects | {"zarr.json": data}
    return {
        "revision": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "stored_bytes": sum(map(len, files.values())),
    }, files


def _chunks(plan: Plan, task: TaskPlan, offsets: dict[str, int]) -> dict[int, Chunk]:
    chunks: dict[int, Chunk] = {number: {} for number in task.stored_zeros}
    for unit, entries in task.entries.items():
        for position, pattern in entries.items():
            number, within = divmod(offsets[unit] + position, plan.chunk_length)
            chunks.setdefault(number, {})[within] = pattern
    return chunks


def _shard(
    plan: Plan, element: str, chunks: list[tuple[int, Chunk | None]], edits: Edits
) -> bytes | None:
    pairs: list[tuple[int, int]] = []
    body = b""
    for number, chunk in chunks:
        if chunk is not None:
            frame = edits.apply("frame", sass(element, plan.chunk_length, chunk), number)
            stored = edits.apply("chunk", frame + crc32c(frame), number)
            pairs.append((len(body), len(stored)))
            body += stored
        else:
            pairs.append((2**64 - 1, 2**64 - 1))
    if not body:
        return None
    index = b"".join(struct.pack("<2Q", *pair) for pair in edits.apply("index", pairs))
    return body + bytes(edits.apply("index_bytes", index + crc32c(index)))


def _delta(plan: Plan, element: str, length: int) -> bytes:
    fill = "0.0" if element == "float32" else "0"
    shard = plan.chunk_length * plan.chunks_per_shard
    return (
        '{"attributes":{},"chunk_grid":{"name":"regular","configuration":{"chunk_shape":['
        f"{shard}"
        ']}},"chunk_key_encoding":{"name":"default","configuration":{"separator":"/"}},"codecs":[{'
        '"name":"sharding_indexed","configuration":{"chunk_shape":['
        f"{plan.chunk_length}"
        '],"codecs":[{"name":"tvbank.sass","configuration":{}},{"name":"crc32c"}],"index_codecs":[{'
        '"name":"bytes","configuration":{"endian":"little"}},{"name":"crc32c"}],"index_location":'
        f'"end"}}}}],"data_type":"{element}","fill_value":{fill},"node_type":"array","shape":'
        f'[{length}],"zarr_format":3}}'
    ).encode()


def _extra_document(extra: Tensor) -> bytes:
    """For extras of one chunk, as all of these are."""
    item = ITEM_BYTES[extra.dtype]
    stored = {"bfloat16": "uint16", "float8_e4m3fn": "uint8"}.get(extra.dtype, extra.dtype)
    little = ',"configuration":{"endian":"little"}' if item > 1 else ""
    fill = {"bool": "false", "complex64": "[0.0,0.0]"}.get(stored, "0")
    shape = ",".join(map(str, extra.shape))
    chunk = ",".join(str(length or 1) for length in extra.shape)
    return (
        '{"attributes":{},"chunk_grid":{"name":"regular","configuration":{"chunk_shape":['
        f"{chunk}"
        ']}},"chunk_key_encoding":{"name":"default","configuration":{"separator":"/"}},"codecs":[{'
        f'"name":"bytes"{little}}},'
        '{"name":"zstd","configuration":{"level":3,"checksum":true}}],'
        f'"data_type":"{stored}","fill_value":{"0.0" if stored.startswith("float") else fill},'
        f'"node_type":"array","shape":[{shape}],"zarr_format":3}}'
    ).encode()


def _group(attributes: Json) -> bytes:
    document = {"attributes": {"tvbank": attributes}, "node_type": "group", "zarr_format": 3}
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _record(data: bytes) -> Json:
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
