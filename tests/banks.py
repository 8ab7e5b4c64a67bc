"""What the tests of banks share: a small bank with one of everything, copies, counts, forgeries."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import ml_dtypes
import numpy as np

import tvbank
from tvbank.storage import MemoryStorage, Storage

BLANK = "0" * 64

#: Four floats of every kind that a difference cannot restore.
ODD = np.array([0x7FC00001, 0xFF800001, 0x80000000, 0x7F800000], np.uint32).view(np.float32)


def base_model() -> dict[str, Any]:
    """Units of every element type, several chunks of 8 entries long; a buffer, 0-d, empty, tied."""
    rng = np.random.default_rng(1)
    head = rng.standard_normal((3, 5)).astype(np.float32)
    return {
        "embedding": rng.standard_normal((7, 5)).astype(np.float32),
        "half": rng.standard_normal(11).astype(np.float16),
        "brain": rng.standard_normal(9).astype(ml_dtypes.bfloat16),
        "scale": np.array(2.5, np.float32),
        "nothing": np.zeros((0, 4), np.float32),
        "head": head,
        "head again": head,
        "steps": np.array(100),
    }


def fine_tune(seed: int = 0) -> dict[str, Any]:
    """A fine-tune of ``base_model`` with a changed buffer."""
    rng = np.random.default_rng(100 + seed)
    tuned = {}
    for name, array in base_model().items():
        if array.dtype.kind == "i":
            tuned[name] = np.asarray(array + 1 + seed)
        elif name == "head again":
            tuned[name] = tuned["head"]
        else:
            step = 0.1 * rng.standard_normal(array.shape) * (rng.random(array.shape) < 0.6)
            tuned[name] = np.asarray(array + step).astype(array.dtype)
    return tuned


def small_bank(place: Any = None, chunk_length: int = 8) -> tvbank.Bank:
    """A bank with a lossy task, and an exact one that holds odd floats and a new head."""
    bank = tvbank.create(MemoryStorage() if place is None else place, base_model(),
                         chunk_length=chunk_length)  # fmt: skip
    bank.add("lossy", fine_tune(0), tvbank.TSwitch(drop=0.5), {"labels": ["cat", "dog"]})
    bank.add("exact", exact_tune(), tvbank.Exact())
    return bank


def exact_tune() -> dict[str, Any]:
    """The fine-tune of ``small_bank``'s task "exact"."""
    exact = fine_tune(1) | {"new head": np.arange(6, dtype=ml_dtypes.bfloat16).reshape(2, 3)}
    exact["embedding"].reshape(-1)[:4] = ODD
    return exact


def contents(storage: Storage) -> dict[str, bytes]:
    """Every object of a store."""
    return {found.key: storage.get(found.key) for found in storage.list()}


@cache
def small_objects() -> Mapping[str, bytes]:
    """Every object of ``small_bank``; nobody changes them."""
    return MappingProxyType(contents(small_bank().storage))


def store(objects: Mapping[str, bytes]) -> MemoryStorage:
    """A store in memory that holds copies of some objects."""
    storage = MemoryStorage()
    for key, data in objects.items():
        storage.put(key, data)
    return storage


def numbers(task: tvbank.Task) -> dict[str, Any]:
    """All that can be read of a task, in a form that compares bit by bit."""
    read: dict[str, Any] = {"revision": task.revision, "metadata": task.metadata}
    for name, unit in task.items():
        positions, values = unit.to_sparse()
        read[f"unit {name}"] = positions.tobytes(), values.tobytes(), str(values.dtype)
    for name, array in task.extras.items():
        read[f"extra {name}"] = array.tobytes(), array.shape, str(array.dtype)
    return read


def all_numbers(bank: tvbank.Bank) -> dict[str, Any]:
    """All that can be read of all tasks."""
    return {name: numbers(task) for name, task in bank.items()}


class CountingStorage(Storage):
    """Passes everything on, and counts requests and the bytes that they brought."""

    def __init__(self, inner: Storage) -> None:
        self.inner, self.location = inner, inner.location
        self.calls: Counter[str] = Counter()
        self.keys: Counter[str] = Counter()
        self.bytes = 0

    def reset(self) -> None:
        """Start counting anew."""
        self.calls.clear()
        self.keys.clear()
        self.bytes = 0

    def _count(self, call: str, key: str, size: int) -> None:
        self.calls[call] += 1
        self.keys[key] += 1
        self.bytes += size

    def get(self, key, limit=None):
        data = self.inner.get(key, limit)
        self._count("get", key, len(data))
        return data

    def get_tagged(self, key, limit=None):
        data, tag = self.inner.get_tagged(key, limit)
        self._count("get", key, len(data))
        return data, tag

    def get_ranges(self, key, ranges):
        parts = self.inner.get_ranges(key, ranges)
        self._count("get", key, sum(map(len, parts)))
        return parts

    def put(self, key, data):
        self._count("put", key, 0)
        self.inner.put(key, data)

    def put_if_unchanged(self, key, data, tag):
        self._count("put", key, 0)
        self.inner.put_if_unchanged(key, data, tag)

    def list(self, prefix=""):
        self._count("list", prefix, 0)
        return self.inner.list(prefix)

    def delete(self, key):
        self._count("delete", key, 0)
        self.inner.delete(key)

    def touch(self, key, limit=None):
        self._count("touch", key, 0)
        self.inner.touch(key, limit)

    def exclusive(self):
        return self.inner.exclusive()


Edit = Callable[[dict[str, Any]], object]


def forge(
    objects: Mapping[str, bytes],
    *,
    root: Edit | None = None,
    layout: Edit | None = None,
    revision: Edit | None = None,
    shard: Callable[[bytes], bytes] | None = None,
) -> dict[str, bytes]:
    """A bank whose documents were edited, with every digest put right again.

    Args:
        objects: of a sound bank.
        root: edits the catalog's attributes.
        layout: edits the layout's attributes.
        revision: edits the attributes of every revision.
        shard: replaces the bytes of every shard.
    """
    forged = dict(objects)
    catalog_document = json.loads(forged["zarr.json"])
    catalog = catalog_document["attributes"]["tvbank"]
    if layout:
        forged["base/zarr.json"] = _edited(forged["base/zarr.json"], layout)
        catalog["layout"] = stored_record(forged["base/zarr.json"])
    for name, entry in catalog["tasks"].items():
        old = f"tasks/{name}/{entry['revision']}"
        shards = {}
        for number, record in enumerate(entry["shards"]):
            if record is not None and shard:
                key = f"{old}/delta/c/{number}"
                forged[key] = shard(forged[key])
                shards[number] = stored_record(forged[key])

        def rewrite(body, shards=shards):
            for number, record in shards.items():
                body["shards"][number] = record
            body["layout"] = catalog["layout"]["sha256"]
            if revision:
                revision(body)

        document = _edited(forged[f"{old}/zarr.json"], rewrite)
        entry["stored_bytes"] += len(document) - entry["size"]
        entry["revision"], entry["size"] = _digest(document), len(document)
        for number, record in shards.items():
            entry["stored_bytes"] += record["size"] - entry["shards"][number]["size"]
            entry["shards"][number] = record
        new = f"tasks/{name}/{entry['revision']}"
        for key in [key for key in forged if key.startswith(f"{old}/")]:
            forged[new + key.removeprefix(old)] = forged.pop(key)
        forged[f"{new}/zarr.json"] = document
    if root:
        root(catalog)
    forged["zarr.json"] = sealed(_dump(catalog_document))
    return forged


def sealed(document: bytes) -> bytes:
    """A root document with its digest put right."""
    start = len(b'{"attributes":{"tvbank":{"digest":"')
    blank = document[:start] + BLANK.encode() + document[start + 64 :]
    return document[:start] + _digest(blank).encode() + document[start + 64 :]


def _edited(document: bytes, edit: Edit) -> bytes:
    parsed = json.loads(document)
    edit(parsed["attributes"]["tvbank"])
    return _dump(parsed)


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def stored_record(data: bytes) -> dict[str, Any]:
    return {"size": len(data), "sha256": _digest(data)}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def routed_bank() -> tvbank.Bank:
    """``small_bank`` with a router between its tasks."""
    bank = small_bank()
    rng = np.random.default_rng(3)
    features = {
        task: (3 * rng.standard_normal(4) + rng.standard_normal((6, 4))).astype(np.float32)
        for task in ("lossy", "exact")
    }
    bank.add_router("main", tvbank.Router.fit(features, neighbours=2))
    return bank


def router_numbers(router: tvbank.Router) -> dict[str, Any]:
    """All that a router holds, in a form that compares bit by bit."""
    metric = router.metric
    arrays = [router.keys, router.owners]
    arrays += [] if metric is None else [metric.centre, metric.matrix]
    held = (router.tasks, router.recipe, router.method, router.spread, router.rejection)
    return {"held": repr(held), "arrays": [(each.tobytes(), each.shape) for each in arrays]}
