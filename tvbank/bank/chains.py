"""Chains: which exact tasks are steps from the state of another, and the rules that this follows.

See spec/container.md, "Chains".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn, Protocol, TypeVar

import msgspec

from tvbank.errors import CorruptionError, TaskNeededError, name_some
from tvbank.layout import Digest

#: The feature that a task needs which has a parent.
CHAINS = "chains"

#: The most ancestors that a task can have: each costs a read of its frames.
MAX_ANCESTORS = 64


class ParentRecord(msgspec.Struct, frozen=True):
    """The task whose state another one starts from, and its revision."""

    task: str
    revision: Digest


class Linked(Protocol):
    """What of a catalog's entry makes chains."""

    @property
    def revision(self) -> str:
        """Of the task."""

    @property
    def element(self) -> str:
        """Of its entries."""

    @property
    def replaced(self) -> Sequence[str]:
        """Units that it keeps whole."""

    @property
    def features(self) -> Sequence[str]:
        """What it needs."""

    @property
    def parent(self) -> ParentRecord | None:
        """What it starts from, if not from the base."""


Entry = TypeVar("Entry", bound=Linked)


def check_chains(tasks: Mapping[str, Linked], key: str) -> None:
    """Check the chains of a catalog.

    Args:
        tasks: its entries.
        key: of the document, for the error.

    Raises:
        CorruptionError: ``chain``; says of which task.
    """
    depths: dict[str, int] = {}
    for name, entry in tasks.items():
        if (entry.parent is None) is (CHAINS in entry.features):
            _refuse(key, name, f"has a parent without the feature {CHAINS!r}, or that without one")
    for name in tasks:
        path: list[str] = []
        at = name
        while at not in depths and (parent := tasks[at].parent) is not None:
            if len(path) > MAX_ANCESTORS:  # or it is one of its own ancestors
                _refuse(key, name, f"has more than {MAX_ANCESTORS} ancestors")
            _check_link(tasks, at, parent, key)
            path.append(at)
            at = parent.task
        depth = depths.setdefault(at, 0)
        for child in reversed(path):
            depth += 1
            if depth > MAX_ANCESTORS:
                _refuse(key, child, f"has more than {MAX_ANCESTORS} ancestors")
            depths[child] = depth


def _check_link(tasks: Mapping[str, Linked], name: str, parent: ParentRecord, key: str) -> None:
    entry, found = tasks[name], tasks.get(parent.task)
    if found is None:
        _refuse(key, name, f"starts from task {parent.task!r}, which the bank lacks")
    elif found.revision != parent.revision:
        _refuse(key, name, f"starts from task {parent.task!r}, which was replaced since")
    elif entry.element != "int32" or found.element != "int32":
        _refuse(key, name, f"starts from task {parent.task!r}, and the two are not both exact")
    elif not set(found.replaced) <= set(entry.replaced):
        _refuse(key, name, f"has steps of units that its parent {parent.task!r} keeps whole")


def _refuse(key: str, name: str, what: str) -> NoReturn:
    raise CorruptionError("chain", f"{key}: task {name!r} {what}", key=key, task=name)


def ancestors(tasks: Mapping[str, Linked], name: str) -> list[str]:
    """A task's ancestors in a checked catalog, by name; first the one that starts from the base."""
    found: list[str] = []
    parent = tasks[name].parent
    while parent is not None:
        found.append(parent.task)
        parent = tasks[parent.task].parent
    return found[::-1]


def with_ancestors(tasks: Mapping[str, Entry], names: Sequence[str]) -> dict[str, Entry]:
    """Entries of some tasks and of all their ancestors; each after its parent."""
    chosen: dict[str, Entry] = {}
    for name in names:
        for each in (*ancestors(tasks, name), name):
            chosen.setdefault(each, tasks[each])
    return chosen


def children(tasks: Mapping[str, Linked], name: str) -> list[str]:
    """The names of the tasks that start from a task."""
    return [n for n, entry in tasks.items() if entry.parent and entry.parent.task == name]


def without_parents(tasks: Mapping[str, Linked]) -> list[str]:
    """The names of the tasks that start from one that is not there, over any number of steps."""
    there = dict(tasks)
    lost: list[str] = []
    while gone := [n for n, e in there.items() if e.parent and not _has(there, e.parent)]:
        lost += gone
        for name in gone:
            del there[name]
    return lost


def _has(tasks: Mapping[str, Linked], parent: ParentRecord) -> bool:
    return parent.task in tasks and tasks[parent.task].revision == parent.revision


def refuse_needed(tasks: Mapping[str, Linked], name: str, remedy: str) -> None:
    """Refuse to take out of a catalog what other tasks start from.

    Raises:
        TaskNeededError: names some of them.
    """
    if needing := children(tasks, name):
        raise TaskNeededError(
            f"task {name!r} is what {name_some(needing)} start{'s' * (len(needing) == 1)} from: "
            f"{remedy}"
        )
