"""Routers for the bank vectors: a slow writer of them, and ways to get them wrong."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

from tools.vectors.banks.tamper import (
    BankFault,
    change,
    drop,
    flip,
    opened,
    put,
    swap,
    tampered,
    without,
)
from tools.vectors.banks.writer import Files, Plan, RouterPlan, TaskPlan, Tensor
from tools.vectors.banks.zstd import zstd_frame
from tools.vectors.frames.encoder import float32

_UNIT = Tensor("w", "float32", (70,), bytes(280))
_TASKS = {
    "cats": TaskPlan("float32", {"w": {0: float32(0.5)}}),
    "dogs": TaskPlan("float32", {"w": {69: float32(-0.5)}}),
}
_KEYS = Tensor("keys", "float16", (4, 2), struct.pack("<8e", 1, 0, 2, 0.5, -1, 0, -2, 0.25))
_OWNERS = Tensor("owners", "int32", (4,), struct.pack("<4i", 0, 0, 1, 1))
_CENTRE = Tensor("centre", "float32", (2,), struct.pack("<2f", 0, 0.1875))
_MATRIX = Tensor("matrix", "float32", (1, 2), struct.pack("<2f", 1.5, -0.25))

SHARES = RouterPlan(("cats", "dogs"), (_KEYS, _OWNERS, _CENTRE, _MATRIX), ("encoder.layer.2",))


def routed() -> Plan:
    """A bank with two routers."""
    wide = Tensor("keys", "float32", (3, 2), struct.pack("<6f", 1e6, 0, 0, 0, -1e-6, 3))
    owners = Tensor("owners", "int32", (3,), struct.pack("<3i", 0, 1, 1))
    plain = RouterPlan(("dogs", "cats"), (wide, owners), ("", "embeddings"), "summary",
                       rejection=None, neighbours=3, method={"metric": "euclidean"})  # fmt: skip
    return Plan((_UNIT,), _TASKS, routers={"by-layer-2": SHARES, "plain": plain})


_PLAN = Plan((_UNIT,), _TASKS, routers={"r": SHARES})


def router_faults() -> Iterator[BankFault]:
    entry = ("routers", "r")
    for reason, why, edit in [
        ("document-syntax", "routers as a list", put("routers", value=[])),
        ("document-syntax", "routers null", put("routers", value=None)),
        ("document-syntax", "a router without a size", drop(*entry, "size")),
        ("document-syntax", "a path as a router's revision", put(
            *entry, "revision", value="../" * 21 + ".")),
        ("name", "a router named nul", put("routers", value={"nul": {
            "revision": "0" * 64, "size": 1, "stored_bytes": 1}})),
        ("name", "routers whose names differ in case only", put("routers", value={
            name: {"revision": "0" * 64, "size": 1, "stored_bytes": 1} for name in ("r", "R")})),
    ]:  # fmt: skip
        yield reason, why, opened(root=_both(put("routers", value={"r": {
            "revision": "0" * 64, "size": 1, "stored_bytes": 1}}), edit))  # fmt: skip
    yield "layout", "stored_bytes of a router that do not add up", _tampered(
        router_entry=put("stored_bytes", value=1)
    )  # fmt: skip
    yield from _document_faults()
    yield from _array_faults()


def _both(first: Callable[[Any], Any], second: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda document: second(first(document))


def _tampered(plan: Plan = _PLAN, **stages: Callable[..., Any]) -> Files:
    return tampered(plan, **stages)


def _document_faults() -> Iterator[BankFault]:
    def document(how: Callable[[bytes], bytes]) -> Callable[[Files], Files]:
        def edit(files: Files) -> Files:
            key = next(k for k in files if k.startswith("routers/") and k.count("/") == 3
                       and "extras" not in k)  # fmt: skip
            return files | {key: how(files[key])}

        return edit

    yield "document-size", "a space after a router's document", _tampered(
        files=document(lambda data: data + b" ")
    )  # fmt: skip
    yield "document-digest", "a bit of a router's document flipped", _tampered(
        files=document(flip(60))
    )  # fmt: skip
    extra = {"size": 1, "sha256": "0" * 64}
    for reason, why, edit in [
        ("document-syntax", "a router without tasks", drop("tasks")),
        ("document-syntax", "a router of one task", put("tasks", value=[
            {"name": "cats", "revision": "0" * 64}])),
        ("document-syntax", "a task of a router without a revision", drop("tasks", 0, "revision")),
        ("name", "a path as a router's task", put("tasks", 0, "name", value="../cats")),
        ("router", "a router that names a task twice", put("tasks", 0, "name", value="dogs")),
        ("document-syntax", "a recipe without a place", put("recipe", "at", value=[])),
        ("document-syntax", "an unknown pooling", put("recipe", "pooling", value="median")),
        ("document-syntax", "features of no width", put("recipe", "width", value=0)),
        ("router", "a place named twice", put("recipe", "at", value=["a", "a"])),
        ("router", "a recipe of another width than the keys", put("recipe", "width", value=3)),
        ("document-syntax", "no neighbours", put("neighbours", value=0)),
        ("router", "more neighbours than keys", put("neighbours", value=5)),
        ("document-syntax", "no spread", drop("spread")),
        ("document-syntax", "a spread of zero", put("spread", value=0)),
        ("document-syntax", "no rejection, nor null", drop("rejection")),
        ("document-syntax", "a threshold that is no number", put(
            "rejection", "evidence", value="low")),
        ("document-syntax", "a threshold beyond 64-bit floats, written as an integer", put(
            "rejection", "distance", value=10**400)),
        ("document-syntax", "a method as a list", put("method", value=[])),
        ("layout", "a router of another layout", put("layout", value="0" * 64)),
        ("document-syntax", "a router's object outside of it", put("objects", "../x", value=extra)),
        ("extra", "a router with a delta", put("objects", "delta/zarr.json", value=extra)),
        ("extra", "an object of an array that a router does not have", put(
            "objects", "extras/4/zarr.json", value=extra)),
        ("extra", "a router's chunk that is not listed", drop("objects", "extras/0/c/0/0")),
    ]:  # fmt: skip
        yield reason, why, _tampered(router=edit)


def _array_faults() -> Iterator[BankFault]:
    def of(*arrays: Tensor) -> Files:
        return _tampered(Plan((_UNIT,), _TASKS, routers={
            "r": RouterPlan(("cats", "dogs"), arrays, ("encoder.layer.2",))}))  # fmt: skip

    def owners(*numbers: int) -> Tensor:
        return Tensor(
            "owners", "int32", (len(numbers),), struct.pack(f"<{len(numbers)}i", *numbers)
        )

    yield "router", "no owners", of(_KEYS)
    yield "router", "owners before keys", of(_OWNERS, _KEYS)
    yield "router", "a centre without a matrix", of(_KEYS, _OWNERS, _CENTRE)
    yield "router", "keys that are no matrix", of(
        Tensor("keys", "float16", (8,), _KEYS.data), _OWNERS
    )  # fmt: skip
    yield "router", "keys of integers", of(Tensor("keys", "int16", (4, 2), _KEYS.data), _OWNERS)
    yield "router", "more owners than keys", of(_KEYS, owners(0, 0, 1, 1, 1))
    yield "router", "a matrix of another width", of(
        _KEYS, _OWNERS, _CENTRE, Tensor("matrix", "float32", (2, 1), _MATRIX.data)
    )  # fmt: skip
    yield "router", "owners that descend", of(_KEYS, owners(0, 1, 0, 1))
    yield "router", "an owner beyond the tasks", of(_KEYS, owners(0, 0, 1, 2))
    yield "router", "a negative owner", of(_KEYS, owners(-1, 0, 1, 1))
    yield "router", "a task without keys", of(_KEYS, owners(1, 1, 1, 1))
    yield "router", "a key that is NaN", of(
        Tensor("keys", "float16", (4, 2), _KEYS.data[:-2] + b"\x01\x7e"), _OWNERS
    )  # fmt: skip
    yield "router", "an infinite metric", of(
        _KEYS,
        _OWNERS,
        _CENTRE,
        Tensor("matrix", "float32", (1, 2), struct.pack("<2I", 0, 255 << 23)),
    )  # fmt: skip
    yield "object-missing", "no chunk of a router's keys", _tampered(
        files=without("extras/0/c/0/0")
    )  # fmt: skip
    yield "object-digest", "a bit of a router's keys flipped", _tampered(
        files=change("extras/0/c/0/0", flip(12))
    )  # fmt: skip
    yield "extra", "too few bytes in a router's keys", _tampered(
        router_objects=lambda objects: objects | {"extras/0/c/0/0": zstd_frame(_KEYS.data[:-1])}
    )  # fmt: skip
    yield "document-syntax", "another shape in the document of a router's keys", _tampered(
        router_objects=lambda objects: (
            objects
            | {
                "extras/0/zarr.json": swap(b'"shape":[4,2]', b'"shape":[2,4]')(
                    objects["extras/0/zarr.json"]
                )
            }
        )
    )  # fmt: skip
    yield "marker", "no routers/zarr.json", _tampered(
        files=lambda files: {k: v for k, v in files.items() if k != "routers/zarr.json"}
    )  # fmt: skip
    yield "marker", "a router's marker with white space", _tampered(
        files=lambda files: files | {"routers/r/zarr.json": files["routers/r/zarr.json"] + b" "}
    )  # fmt: skip
