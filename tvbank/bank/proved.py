"""What an exact task records of the weights that it makes: a digest of each unit that it changes.

See spec/container.md, "The state of an exact task".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from tvbank.bank.documents import Revision
from tvbank.errors import CorruptionError, FormatError, name_some
from tvbank.layout import Layout, fingerprint

#: The reason code of weights that are others than the task records.
STATE = "state"


class Recording(Protocol):
    """A task, as far as it records what its weights are; ``Task`` is one."""

    @property
    def document(self) -> Revision:
        """The revision document."""

    def __contains__(self, name: object, /) -> bool:
        """Whether a unit is not kept whole."""


def check_state(layout: Layout, revision: Revision) -> None:
    """Check what a revision says of its state against the layout and its own extras.

    Raises:
        FormatError: ``layout``.
    """
    if revision.state is None:
        return
    if revision.element != "int32":
        raise FormatError("layout", "it records a state, and is not exact")
    kept = {extra.name for extra in revision.extras}
    wrong = [name for name in revision.state if name not in layout.by_name or name in kept]
    if wrong:
        raise FormatError(
            "layout", f"its state has what it changes no entry of: {name_some(wrong)}"
        )


def changed_units(layout: Layout, chunks: Collection[int]) -> list[str]:
    """The names of the units in which there are entries, by the chunks that have some."""
    there = set(chunks)
    return [
        unit.name for unit in layout.units if not there.isdisjoint(layout.chunks(unit))
    ]  # fmt: skip


def recorded_state(
    states: Mapping[str, str] | None, layout: Layout, chunks: Collection[int]
) -> dict[str, str] | None:
    """The state that a revision records: of the units that have entries; None if one is unknown.

    Args:
        states: digests of units after the task, of at least those that it changes.
        layout: of the bank.
        chunks: numbers of the chunks that have entries.
    """
    if states is None:
        return None
    changed = changed_units(layout, chunks)
    if any(name not in states for name in changed):
        return None
    return {name: states[name] for name in changed}


def state_after(lineage: Sequence[Recording]) -> dict[str, str]:
    """SHA-256 of the weights, after the last of some tasks, of each unit of which it is recorded.

    Units that none of them changes are not among them.

    Args:
        lineage: exact tasks, each over the state of the one before.

    Raises:
        CorruptionError: a revision document is missing or damaged.
    """
    found: dict[str, str] = {}
    for task in lineage:
        state = task.document.state
        found = {} if state is None else found | state
    return {name: sha256 for name, sha256 in found.items() if name in lineage[-1]}


def refuse_other_state(task: str, unit: str, weights: NDArray[Any], sha256: str) -> None:
    """Compare the weights of a unit with what the task records of them.

    Args:
        task: its name.
        unit: its name.
        weights: as they came out.
        sha256: as it is recorded.

    Raises:
        CorruptionError: ``state``; names task and unit.
    """
    if fingerprint(weights) != sha256:
        raise CorruptionError(
            STATE,
            f"task {task!r}, unit {unit!r}: the weights that come out are not those that were "
            "added, whose digest the task records: add the task again (replace, --replace)",
            key=f"tasks/{task}", task=task, unit=unit,
        )  # fmt: skip
