"""Which tasks are steps from the weights of another (chains.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .invalid import require
from .json_text import Object

CHAINS = "chains"
MAX_ANCESTORS = 64


class Parent(NamedTuple):
    """The task whose weights another one's entries are steps from."""

    task: str
    revision: str


def read_parent(body: Object) -> Parent | None:
    """A missing member is none."""
    if body.value.get("parent") is None:
        return None
    parent = body.object("parent")
    return Parent(parent.text("task"), parent.digest("revision"))


def check_chains(tasks: Mapping[str, Any]) -> None:
    """Check the parents of all tasks of a catalog.

    Raises:
        Invalid: ``chain``.
    """
    for name, task in tasks.items():
        stated = CHAINS in task.features
        require(stated == (task.parent is not None), "chain", f"{name!r} does not say it has one")
        if task.parent is None:
            continue
        require(task.parent.task in tasks, "chain", f"the parent of {name!r} is not there")
        parent = tasks[task.parent.task]
        same = parent.revision.sha256 == task.parent.revision
        require(same, "chain", f"the parent of {name!r} is there in another revision")
        exact = parent.element == task.element == "int32"
        require(exact, "chain", f"{name!r} and its parent are not both exact")
        kept = set(parent.replaced) <= set(task.replaced)
        require(kept, "chain", f"{name!r} has entries of a unit that its parent replaces")
    for name in tasks:
        ancestors(tasks, name)


def ancestors(tasks: Mapping[str, Any], name: str) -> list[str]:
    """The ancestors of a task, the one that starts from the base first.

    Raises:
        Invalid: ``chain``: there are too many, or no end of them.
    """
    found: list[str] = []
    parent = tasks[name].parent
    while parent is not None:
        found.append(parent.task)
        require(len(found) <= MAX_ANCESTORS, "chain", f"{name!r} has too many ancestors")
        parent = tasks[parent.task].parent
    return found[::-1]
