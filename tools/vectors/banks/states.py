"""Banks whose exact tasks record states that they must not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tools.vectors.banks.tamper import ENTRIES, UNITS, BankFault
from tools.vectors.banks.writer import Json, Plan, TaskPlan, Tensor, write_bank

_STEPS = {"w": {0: 1, 63: 2**32 - 5, 99: 7}}
_TASK = TaskPlan("int32", _STEPS, compressor={"name": "exact"})
_DIGEST = "0" * 64


def state_faults() -> Iterator[BankFault]:
    """Faults of what a revision document says of its state."""
    resized = Tensor("b", "bfloat16", (4,), bytes(8))
    lossy = TaskPlan("float32", ENTRIES, state={"w": _DIGEST, "b": _DIGEST})
    found: list[tuple[str, str, TaskPlan]] = [
        ("document-syntax", "a state as a list", replace(_TASK, state=["w"])),
        ("document-syntax", "a state with a digest in capitals", _with({"w": "A" * 64})),
        ("layout", "a state of a lossy task", lossy),
        ("layout", "a state of a unit that is not there", _with({"w": _DIGEST, "v": _DIGEST})),
        ("layout", "a state of a unit that the task replaces",
         replace(_TASK, state={"w": _DIGEST, "b": _DIGEST}, extras=(resized,))),
        ("layout", "a state of a unit without entries", _with({"w": _DIGEST, "b": _DIGEST})),
        ("layout", "a state that lacks a unit with entries", _with({})),
    ]  # fmt: skip
    for reason, why, task in found:
        yield reason, why, write_bank(Plan(UNITS, {"t": task}))


def _with(state: Json) -> TaskPlan:
    return replace(_TASK, state=state)
