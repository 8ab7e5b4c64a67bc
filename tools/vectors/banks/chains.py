"""Banks of exact tasks that start from others: a valid one, and faulty ones."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

from tools.vectors.banks.tamper import BankFault, drop, put
from tools.vectors.banks.writer import Edits, Files, Json, Plan, TaskPlan, Tensor, write_bank

_EXACT: Json = {"name": "exact"}


def chains() -> Plan:
    """Three steps, a branch, an anchor; sums that wrap around, a unit kept whole in mid-chain."""
    units = (
        Tensor("w", "float32", (100,), struct.pack("<100f", *(k / 8 - 4 for k in range(100)))),
        Tensor("h", "float16", (5,), struct.pack("<5e", 1, -1, 0, 65504, -65504)),
        Tensor("b", "bfloat16", (3,), bytes.fromhex("803f 80bf 0080")),
    )
    head = Tensor("head", "float32", (2,), struct.pack("<2f", 1, 2))
    resized = Tensor("h", "float16", (7,), struct.pack("<7e", *range(7)))
    tasks = {
        "step-1": TaskPlan("int32", {
            "w": {0: 1, 63: 2**32 - 5, 64: 2**31 - 1, 99: 7}, "h": {0: 2**32 - 1, 3: 2**15 - 1},
            "b": {0: 3, 2: 2**32 - 2},
        }, compressor=_EXACT),
        "step-2": TaskPlan("int32", {
            "w": {0: 2**32 - 1, 64: 2**31 - 1, 70: 1}, "h": {3: 2**15 - 1, 4: 2**32 - 2**15},
            "b": {0: 2**15 - 1, 1: 1},
        }, (head,), _EXACT, parent="step-1"),
        "step-3": TaskPlan("int32", {"w": {99: 2**32 - 7}, "b": {1: 2**32 - 1}}, (resized,), _EXACT,
                           parent="step-2"),
        "branch": TaskPlan("int32", {}, compressor=_EXACT, parent="step-1"),
        "anchor": TaskPlan("int32", {"w": {5: 1}}, compressor=_EXACT),
    }  # fmt: skip
    return Plan(units, tasks, tied={"w again": "w"}, generation=5)


_UNITS = (Tensor("w", "float32", (100,), bytes(400)),)
_PLAN = Plan(
    _UNITS,
    {
        "a": TaskPlan("int32", {"w": {0: 1}}, compressor=_EXACT),
        "b": TaskPlan("int32", {"w": {1: 1}}, compressor=_EXACT, parent="a"),
    },
)


def chain_faults() -> Iterator[BankFault]:
    """Faults of a bank with two tasks, of which one starts from the other."""
    zeros = "0" * 64
    parent = ("tasks", "b", "parent")
    revision = (*parent, "revision")
    whole = put("tasks", "a", "replaced", value=["w"])
    found: list[tuple[str, str, Callable[[Any], Any]]] = [
        ("document-syntax", "a parent as text", put(*parent, value="a")),
        ("document-syntax", "a parent without its revision", drop(*parent, "revision")),
        ("document-syntax", "a parent's revision in capitals", put(*revision, value="A" * 64)),
        ("chain", "a parent that is not there", drop("tasks", "a")),
        ("chain", "a parent in another revision", put(*revision, value=zeros)),
        ("chain", "a parent that is not exact", put("tasks", "a", "element", value="float32")),
        ("chain", "a lossy task with a parent", put("tasks", "b", "element", value="float32")),
        ("chain", "a unit that only the parent keeps whole", whole),
        ("chain", "a parent without the feature", drop("tasks", "b", "features")),
        ("chain", "the feature without a parent", drop(*parent)),
        ("chain", "a task that is its own parent", _own_parent),
        ("chain", "parents in a circle", _circle),
        ("chain", "65 ancestors", _deep),
    ]  # fmt: skip
    for reason, why, root in found:
        files = write_bank(_PLAN, Edits(root=root))
        kept: Files = {key: data for key, data in files.items() if not key.startswith("tasks/")}
        yield reason, why, kept
    yield "layout", "a parent that only the catalog states", write_bank(
        _PLAN, Edits(revision=lambda document: {k: v for k, v in document.items() if k != "parent"})
    )  # fmt: skip


def _own_parent(root: Json) -> Json:
    own = {"task": "b", "revision": root["tasks"]["b"]["revision"]}
    return dict(put("tasks", "b", "parent", value=own)(root))


def _circle(root: Json) -> Json:
    other = {"task": "b", "revision": root["tasks"]["b"]["revision"]}
    tasks = root["tasks"]
    changed = tasks["a"] | {"features": ["chains"], "parent": other}
    return root | {"tasks": tasks | {"a": changed}}


def _deep(root: Json) -> Json:
    first, later = root["tasks"]["a"], root["tasks"]["b"]
    tasks = {"t0": first | {"revision": later["revision"]}}
    for number in range(1, 66):
        above = {"task": f"t{number - 1}", "revision": later["revision"]}
        tasks[f"t{number}"] = later | {"parent": above}
    return root | {"tasks": tasks}
