"""The states of a model's weights, and the change from one to another: complete, or undone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from tvbank.bank.bank import Bank
from tvbank.bank.task import Task
from tvbank.errors import TaskNotFoundError, UsageError
from tvbank.merging.weights import checked_weights
from tvbank.switching._direct import Addition, OneTask, WorkingMemory, addition_of
from tvbank.switching._heads import Swap, SwapsUndo, write_swaps
from tvbank.switching._indexed import IndexedAddition, indexed_additions
from tvbank.switching._model import AttachedModel
from tvbank.switching._places import Place
from tvbank.switching._products import ProductChange, product_changes
from tvbank.switching._record import Buffers, Record, Undo, empty_record
from tvbank.switching._resident import ResidentTask

#: How often restoring the base is tried: what interrupts it once may not do so again.
_ATTEMPTS = 3

#: A task by name, or a weighted sum of tasks.
Tasks = str | Mapping[str, float]


@final
@dataclass(frozen=True)
class Request:
    """One state of a model.

    Attributes:
        tasks: (name, weight), in the order in which they are added; the weight is ``None`` for one
            task as it is.
        heads: the task whose units kept whole take their places, or ``None``.
    """

    tasks: tuple[tuple[str, float | None], ...] = ()
    heads: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every task that is needed, once."""
        heads = () if self.heads is None else (self.heads,)
        return tuple(dict.fromkeys((*(name for name, _ in self.tasks), *heads)))

    @property
    def asked(self) -> str | dict[str, float] | None:
        """The request as ``Switch.to`` takes it; ``None`` for the base."""
        if len(self.tasks) == 1 and self.tasks[0][1] is None:
            return self.tasks[0][0]
        weights = {name: weight for name, weight in self.tasks if weight is not None}
        return weights or None


def read_request(bank: Bank, tasks: Tasks, heads: str | None) -> Request:
    """Check what a user asks for.

    Raises:
        TaskNotFoundError: the bank has no such task.
        UsageError: a weight is not a finite number, or ``tasks`` is neither a name nor a mapping.
    """
    if isinstance(tasks, str):
        request = Request(((tasks, None),), tasks if heads is None else heads)
    elif isinstance(tasks, Mapping):
        request = Request(tuple(checked_weights(tasks).items()), heads)
    else:
        raise UsageError(
            f"switch to a task's name or to a mapping of names to weights, not to {tasks!r}"
        )
    for name in request.names:
        if name not in bank:
            known = ", ".join(map(repr, bank)) or "none yet"
            raise TaskNotFoundError(f"{bank.location} has no task {name!r}; it has {known}")
    return request


#: The tasks that lead from the base to a state, one after the other: names and revisions.
Path = tuple[tuple[str, str], ...]


def path_of(task: Task) -> Path:
    """The tasks that lead from the base to a task; it is the last."""
    return tuple((each.name, each.revision) for each in task.lineage)


@final
@dataclass(frozen=True)
class _Level:
    """One task that was added as it is, over the base or another one.

    Attributes:
        task: its name and revision.
        undos: the way back to the state before it.
    """

    task: tuple[str, str]
    undos: list[Undo]


@final
class Weights:
    """The weights of an attached model: the base, and the way back to it.

    A chain of exact tasks is added level by level, each with an undo of its own: a state that
    shares its first levels with the present one keeps them.

    Whatever is written is recorded in ``_undos`` first, and each of these can be restored at
    any time, any number of times. So after any interruption, restoring all of them gives the base.

    Attributes:
        request: the present state; ``Request()`` is the base.
    """

    def __init__(self, model: AttachedModel) -> None:
        """The model is the base now."""
        self._model = model
        self._memory = WorkingMemory()
        self._undos: list[Undo] = []
        self._record = empty_record()
        self._levels: list[_Level] = []
        self._swapped: list[Place] = []
        self._settled = True
        self.request = Request()

    def check(self, force: bool = False) -> None:
        """Check that the model is as the last change left it.

        Args:
            force: whether it does not matter that others have written to the weights.

        Raises:
            UsageError, BaseMismatchError: it is not; see ``AttachedModel``.
        """
        self._model.check_places()
        if self._settled and not force:
            self._model.check_unwritten(self.request.asked)

    def go(
        self,
        request: Request,
        tasks: Sequence[tuple[ResidentTask, float | None]],
        swaps: list[Swap],
        blends: Callable[[], list[Swap]] = list,
        path: Path = (),
    ) -> None:
        """Change to another state; to the base if anything interrupts it.

        Args:
            request: the state.
            tasks: its tasks in memory, with their weights.
            swaps: the units kept whole that go with it.
            blends: called once the tasks have been added: what takes the place of some sums.
            path: of one task as it is: the tasks that lead to it, each of them the parent of the
                next. ``tasks`` are those of them that the present state does not share.

        Raises:
            CorruptionError: a frame violates the spec; says where.
            NonFiniteError: a weight would become NaN or infinite; names the unit.
        """
        self.recover()
        try:
            self._settled = False
            self._enter(request, tasks, swaps, blends, path)
        except BaseException:
            self.back_to_base()
            raise

    def recover(self) -> None:
        """Make it the base, if a change was interrupted and could not be undone then."""
        if not self._settled:
            self.back_to_base()

    def shared(self, path: Path) -> int:
        """How many of the first tasks of a path the present state is made of, too."""
        return len(self._common(path))

    def back_to_base(self, overlook: Collection[str] = ()) -> None:
        """Put back every touched weight; an interruption is raised once that is done.

        Args:
            overlook: names of places that others have written to, to be noticed later.
        """
        interruption: BaseException | None = None
        for attempt in range(_ATTEMPTS):
            try:
                self._memory.crew.rest()
                for undo in reversed(self._undos):
                    undo.restore()
                self._model.expect_base(self._swapped)
                self._model.mark(overlook)
                self._settle(Request(), [], empty_record(), [], [])
                break
            except BaseException as error:
                interruption = error
                if attempt == _ATTEMPTS - 1:
                    raise
        if interruption is not None:
            raise interruption

    def _enter(
        self,
        request: Request,
        tasks: Sequence[tuple[ResidentTask, float | None]],
        swaps: list[Swap],
        blends: Callable[[], list[Swap]],
        path: Path,
    ) -> None:
        kept = self._common(path)
        staying = [undo for level in kept for undo in level.undos]
        for undo in reversed(self._undos):  # buffers were written over sums
            # ``addition.run`` puts the first record back, chunk by chunk
            if undo not in staying and (kept or undo is not self._record):
                undo.restore()
        before = list(self._undos)
        undos: list[Undo] = []  # of what is written now

        def writes(undo: Undo) -> None:
            undos.append(undo)
            self._undos = before + undos

        record, levels = self._record, list(kept)
        for number in range(len(kept), len(path) or 1):
            some = tasks[number - len(kept) :][:1] if path else tasks
            begun = len(undos)
            if number:
                addition: Addition = OneTask(*some[0], self._memory, Buffers())
                previous = empty_record()
            else:
                addition, previous = self._addition(some), self._record
                record = addition.record
            writes(addition.record)
            products: list[ProductChange] = []
            if any(task.products for task, _ in some):
                self._record.restore()  # products are made of the base's weights
                products = list(product_changes(self._model.bindings, some))
                for product in products:
                    writes(product.undo)
            addition.run(previous)
            for target, parts in indexed_additions(some).items():
                unit = self._model.layout.units[target.units[0]].name
                indexed = IndexedAddition(target, unit, parts)
                writes(indexed.undo)
                indexed.write()
            for product in products:
                product.write()
            if path:
                levels.append(_Level(path[number], undos[begun:]))
        swaps = [*swaps, *blends()]
        left, entered = self._swapped, [place for swap in swaps for place in swap.places]
        self._swapped = left + entered
        sizes = self._model.sizes.changes(
            (place, swap.tensor) for swap in swaps if not swap.in_place for place in swap.places
        )
        writes(SwapsUndo(swaps, sizes))
        write_swaps(swaps, sizes)
        self._model.expect_base(left)
        self._model.expect(entered)
        self._model.mark()
        if not kept:
            self._memory.turn()
        self._settle(request, staying + undos, record, entered, levels)

    def _common(self, path: Path) -> list[_Level]:
        """The levels of the present state, from the base on, that a path begins with, too."""
        common: list[_Level] = []
        for level, task in zip(self._levels, path, strict=False):
            if level.task != task:
                break
            common.append(level)
        return common

    def _addition(self, tasks: Sequence[tuple[ResidentTask, float | None]]) -> Addition:
        if len(tasks) == 1:
            return OneTask(*tasks[0], self._memory)
        weighted = [(task, weight) for task, weight in tasks if weight is not None]
        return addition_of(weighted, self._memory)

    def _settle(
        self,
        request: Request,
        undos: list[Undo],
        record: Record,
        swapped: list[Place],
        levels: list[_Level],
    ) -> None:
        self._undos, self._record, self._swapped = undos, record, swapped
        self._levels = levels
        self.request = request
        self._settled = True
