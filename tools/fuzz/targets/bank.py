"""A whole bank with one object forged: opened, verified, and read to the last entry.

The first byte chooses the object; what follows is its content, for which every digest up to the
root is put right. Whatever it is, tvbank raises its own errors or none; where ``verify`` finds no
fault everything can be read, and the reference reader finds no fault either.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spec.reference.bank import open_bank
from spec.reference.verify import verify as slow_verify
from tools.fuzz import _documents, _frames
from tools.fuzz._agreement import attempt
from tools.fuzz._frames import ROOT
from tools.fuzz._mutate import mutate_bytes
from tools.fuzz.targets.catalog import sealed

sys.path.insert(0, str(ROOT / "tests"))
import banks

import tvbank
from tvbank.bank.shard import crc32c
from tvbank.bank.verify import verify
from tvbank.errors import TvbankError

_SOUND = banks.contents(banks.routed_bank().storage)
_KEYS = sorted(_SOUND)
#: Units above this are not read: a layout may state any length.
_MOST = 10**6


def seeds() -> Iterator[bytes]:
    for number, key in enumerate(_KEYS):
        yield bytes([number]) + _SOUND[key]


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    dice = random.Random(seed)
    number, content = (data or b"\0")[0] % len(_KEYS), data[1:]
    if dice.random() < 0.1:
        number = dice.randrange(len(_KEYS))
        content = _SOUND[_KEYS[number]]
    key = _KEYS[number]
    if key.endswith("zarr.json"):
        content = _documents.mutate(content, max_size - 1, seed)
    elif "/delta/c/" in key:
        content = _mutate_shard(content, max_size, seed, dice)
    else:
        content = mutate_bytes(content or b"\0", max_size - 1)
    return bytes([number]) + content


def _mutate_shard(data: bytes, max_size: int, seed: int, dice: random.Random) -> bytes:
    """Change a frame, and put checksums and index right; or change anything."""
    size = next(len(_SOUND[key]) for key in _KEYS if "/delta/c/" in key)
    places = _index(data)
    if not places or dice.random() < 0.2 or not size:
        return mutate_bytes(data or b"\0", max_size - 1)
    frames = [None if place is None else data[place[0] : place[1] - 4] for place in places]
    at = dice.randrange(len(frames))
    frames[at] = _frames.mutate(frames[at] or dice.choice(frames) or b"\0" * 24, 2000, seed)
    body, index = b"", b""
    for frame in frames:
        if frame is None:
            index += b"\xff" * 16
            continue
        index += len(body).to_bytes(8, "little") + (len(frame) + 4).to_bytes(8, "little")
        body += frame + crc32c(frame)
    return body + index + crc32c(index)


def _index(data: bytes) -> list[tuple[int, int] | None]:
    """Where a shard's index says that its frames lie, if it can be true."""
    layout = json.loads(_SOUND["base/zarr.json"])["attributes"]["tvbank"]
    chunks = layout["shard_length"] // layout["chunk_length"]
    index = data[-16 * chunks - 4 : -4]
    places: list[tuple[int, int] | None] = []
    for at in range(0, len(index) - 15, 16):
        start, length = (
            int.from_bytes(index[at + 8 * i : at + 8 * i + 8], "little") for i in (0, 1)
        )
        absent = start == length == 2**64 - 1
        if not absent and (start + length > len(data) or length < 4):
            return []
        places.append(None if absent else (start, start + length))
    return places if len(places) == chunks else []


def forge(number: int, content: bytes) -> dict[str, bytes]:
    """The bank with one object replaced, and every digest above it put right."""
    key = _KEYS[number % len(_KEYS)]
    objects = {**_SOUND, key: content}
    if key == "zarr.json":
        return objects | {key: sealed(content)}
    root = json.loads(_SOUND["zarr.json"])
    catalog = root["attributes"]["tvbank"]
    parts = key.split("/")
    if key == "base/zarr.json":
        catalog["layout"] = banks.stored_record(content)
        for kind in ("tasks", "routers"):
            for name, entry in catalog[kind].items():
                _renew(objects, f"{kind}/{name}", entry, layout=catalog["layout"]["sha256"])
    elif len(parts) > 3:
        kind, name, below = parts[0], parts[1], "/".join(parts[3:])
        entry = catalog[kind][name]
        if below == "zarr.json":
            _move(objects, f"{kind}/{name}", entry, content)
        elif below.startswith("delta/c/"):
            entry["shards"][int(parts[-1])] = banks.stored_record(content)
            _renew(objects, f"{kind}/{name}", entry, shards=entry["shards"])
        else:
            changed = (below, banks.stored_record(content))
            _renew(objects, f"{kind}/{name}", entry, changed=changed)
    return objects | {"zarr.json": sealed(json.dumps(root, separators=(",", ":")).encode())}


def _renew(objects: dict[str, bytes], folder: str, entry: Any, **members: Any) -> None:
    document = json.loads(objects[f"{folder}/{entry['revision']}/zarr.json"])
    body = document["attributes"]["tvbank"]
    changed = members.pop("changed", None)
    if changed:
        body["objects"][changed[0]] = changed[1]
    body |= members
    _move(objects, folder, entry, json.dumps(document, separators=(",", ":")).encode())


def _move(objects: dict[str, bytes], folder: str, entry: Any, document: bytes) -> None:
    """Put a revision's objects below the name that its document gives it."""
    old = f"{folder}/{entry['revision']}"
    entry["revision"], entry["size"] = hashlib.sha256(document).hexdigest(), len(document)
    new = f"{folder}/{entry['revision']}"
    for key in [key for key in objects if key.startswith(f"{old}/")]:
        objects[new + key.removeprefix(old)] = objects.pop(key)
    objects[f"{new}/zarr.json"] = document
    try:
        stored = [
            *json.loads(document)["attributes"]["tvbank"]["objects"].values(),
            *entry.get("shards", []),
        ]
        entry["stored_bytes"] = len(document) + sum(each["size"] for each in stored if each)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return


def read_all(storage: Any) -> None:
    """Read every unit and extra, one by one and all at once."""
    bank = tvbank.open(storage)
    if sum(unit.size for unit in bank.layout.units) > _MOST:
        return
    for task in bank.values():
        dense = task.to_dense()
        for name, unit in task.items():
            assert dense[name].tobytes() == unit.to_dense().tobytes()
            positions, values = unit.to_sparse()
            assert dense[name].reshape(-1)[positions].tobytes() == values.tobytes()
        for name in task.extras:
            if task.extras.record(name).size <= _MOST:
                assert task.extras[name].shape == task.extras.record(name).shape
        assert isinstance(task.metadata, dict)
    for name in bank.routers:
        if all(extra.size <= _MOST for extra in bank.stored_router(name).document.extras):
            bank.router(name, partial=True)


def _slow(objects: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for key, content in objects.items():
            path = Path(folder, key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        slow_verify(open_bank(folder))


def check(data: bytes) -> None:
    if not data:
        return
    objects = forge(data[0], data[1:])
    storage = banks.store(objects)
    try:
        faults = [fault.reason for fault in verify(storage)]
    except TvbankError as error:
        faults = [type(error).__name__]
    try:
        read_all(storage)
        refused = None
    except TvbankError as error:
        refused = error
    if not faults:
        assert refused is None, f"verify finds no fault, reading does: {refused}"
    document = data[1:] if _KEYS[data[0] % len(_KEYS)].endswith("zarr.json") else b"{}"
    # The reference is slow: asked always where there is no fault, else now and then.
    if _documents.one_meaning(document) and (not faults or sum(data) % 8 == 0):
        slow = attempt(lambda: _slow(objects))
        assert bool(faults) == (slow.reason is not None), (faults, slow)
