"""Writing a task whose entries start from the state of a parent instead of the base."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any, final

from numpy.typing import NDArray

from tvbank.bank.chains import MAX_ANCESTORS, Linked, ParentRecord, ancestors
from tvbank.bank.encoder import Draft
from tvbank.bank.frames import StoredFrame
from tvbank.bank.task import Task
from tvbank.checkpoint import TensorSpec
from tvbank.errors import UsageError
from tvbank.layout import UnitRecord, WholeRecord
from tvbank.vector import BaseModel, TaskVector


def start_from(draft: Draft, base: BaseModel, parent: Task, record: ParentRecord) -> Draft:
    """The same draft, of steps from the state of a parent.

    Args:
        draft: of steps from the base.
        base: the base's weights.
        parent: as it was when ``record`` was made of it.
        record: names it and its revision.
    """
    state = ParentState(base, parent, draft.pool)
    vector = without_replaced(draft.vector, parent)
    return replace(draft, base=state, vector=vector, parent=record)


def without_replaced(vector: TaskVector, parent: Task) -> TaskVector:
    """The task vector, in which units that the parent keeps whole are kept whole again."""
    units = [unit for unit in vector.units if unit.name in parent]
    moved = [unit.name for unit in vector.units if unit.name not in parent]
    return replace(vector, units=units, whole=[*moved, *vector.whole])


def parent_record(
    tasks: Mapping[str, Linked], parent: str, anchor_every: int | None
) -> ParentRecord | None:
    """What a task is to start from: its parent; or the base, if the chain is as long as it may be.

    Args:
        tasks: the catalog's; it has the parent.
        parent: the parent's name.
        anchor_every: of how many tasks in a row one starts from the base.

    Raises:
        UsageError: a parent that is not exact, no sensible number, or too long a chain.
    """
    if tasks[parent].element != "int32":
        raise UsageError(
            f"task {parent!r} is not exact, so nothing can be steps from its state: give an exact "
            "one as parent, or none"
        )
    depth = 1 + len(ancestors(tasks, parent))
    if is_anchor(parent, depth, anchor_every):
        return None
    return ParentRecord(parent, tasks[parent].revision)


def is_anchor(parent: str, depth: int, anchor_every: int | None) -> bool:
    """Whether a task starts from the base all the same, since its parent's chain is long enough.

    Args:
        parent: the parent's name.
        depth: tasks in the parent's chain, itself among them.
        anchor_every: of how many tasks in a row one starts from the base.

    Raises:
        UsageError: no sensible number, or too long a chain.
    """
    if anchor_every is not None and not anchor_every >= 1:
        raise UsageError(f"anchor_every must be at least 1, got {anchor_every}")
    if anchor_every is not None and depth >= anchor_every:
        return True
    if depth > MAX_ANCESTORS:
        raise UsageError(
            f"task {parent!r} has {MAX_ANCESTORS} ancestors, the most that a chain may have: start "
            "from the base now and then, with anchor_every= (--anchor-every)"
        )
    return False


@final
class ParentState:
    """The weights of a parent: the base's, which are checked, after all steps of its chain."""

    def __init__(self, base: BaseModel, parent: Task, pool: Executor) -> None:
        self._base, self._parent, self._pool = base, parent.by_shard(), pool

    def spec(self, record: UnitRecord | WholeRecord) -> TensorSpec:
        """See ``Start.spec``."""
        return self._base.spec(record)

    def expect(self, names: Iterable[str]) -> None:
        """See ``Start.expect``."""
        self._base.expect(names)

    def is_kept(self, name: str) -> bool:
        """See ``Start.is_kept``: the base's weights are compared as they are read."""
        return True

    def read_unchecked(self, name: str) -> NDArray[Any]:
        """See ``Start.read_unchecked``.

        Raises:
            BaseMismatchError: the base has other weights than the bank's.
            CorruptionError: what is stored of the parent is missing or damaged.
        """
        state = self._base.read(name).copy()
        flat, length = state.reshape(-1), self._parent.chunk_length

        def step(frame: StoredFrame) -> None:
            block = flat[frame.first : frame.first + length]
            block[:] = self._parent.after(frame, block)

        # Units that the parent keeps whole are kept whole by tasks that start from it, too.
        if name in self._parent:
            list(self._pool.map(step, self._parent.frames(name)))
        return state

    def check(self, name: str, sha256: str) -> None:
        """See ``Start.check``: nothing is left to compare."""

    def keep(self, name: str, array: NDArray[Any]) -> None:
        """See ``Start.keep``: nothing is kept."""
