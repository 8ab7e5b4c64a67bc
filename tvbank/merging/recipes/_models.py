"""The models of a recipe in a bank: whole tensors of tasks and of the base."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import PurePath
from typing import Any, Final, final

from numpy.typing import NDArray

from tvbank.bank.bank import Bank
from tvbank.bank.task import Task
from tvbank.checkpoint import CheckpointSource, TensorSpec
from tvbank.errors import UnitMismatchError, name_some
from tvbank.merging._assemble import Assembler, Finish
from tvbank.merging.recipes._plan import PlannedTensor
from tvbank.merging.recipes._yaml import Node
from tvbank.merging.restored import Restored, base_specs
from tvbank.vector import BaseModel

#: Stands for the bank's base among the names of models; no task can have it.
BASE: Final = "(base)"

#: What recipes may call the bank's base, whatever it is.
_BASE_NAMES = ("base", BASE)


@final
class Finder:
    """Finds what a recipe's models are in a bank: tasks, or the base.

    A model is a task of that name, or of the name's last part (``org/cats``, ``./models/cats``).
    It is the base if it is called ``base``, or what the base's file or folder is called.
    """

    def __init__(
        self, bank: Bank, base: CheckpointSource, names: Mapping[str, str] | None = None
    ) -> None:
        """Look into a bank.

        Args:
            bank: whose tasks they are.
            base: where the base's weights are.
            names: task names, or ``base``, by the names that the recipe has for them.
        """
        self._tasks = set(bank)
        self._names = dict(names or {})
        self._base_names = {*_BASE_NAMES, *_called(base)}

    def __call__(self, model: str, node: Node) -> str:
        """The name of the task, or ``BASE``.

        Raises:
            UsageError: it is neither.
        """
        given = self._names.get(model)
        if given is not None:
            return self._found(given, given, node)
        return self._found(model, PurePath(model.rstrip("/")).name, node)

    def _found(self, model: str, last: str, node: Node) -> str:
        for name in (model, last):
            if name in self._tasks:
                return name
        if model in self._base_names or last in self._base_names:
            return BASE
        there = name_some(sorted(self._tasks)) or "no task"
        hint = ""
        if "+" in model:
            hint = "; an adapter is a task of its own once it is added"
        elif "@" in model:
            hint = "; a bank keeps one revision of a task"
        raise node.error(
            f"model {model!r} is neither a task of the bank ({there}) nor the name of its base"
            f"{hint}: say which it is with --model {model}=TASK, or --model {model}=base"
        )


def _called(base: CheckpointSource) -> set[str]:
    """What a base's file and folder are called, if it has any."""
    if not isinstance(base, str | os.PathLike):
        return set()
    path = PurePath(os.fspath(base))
    names = {os.fspath(base), str(path), path.name, path.stem}
    if path.suffix:  # a file; its folder is the model
        names |= {str(path.parent), path.parent.name}
    return names - {"", ".", "/"}


@final
class Models:
    """Reads whole tensors of models, those of one group at the same time on all cores.

    Attributes:
        tasks: that take part, by name.
    """

    def __init__(
        self, bank: Bank, tasks: Sequence[str], base: BaseModel, pool: ThreadPoolExecutor
    ) -> None:
        """Open the tasks that take part.

        Args:
            bank: whose they are.
            tasks: their names.
            base: the base's weights.
            pool: threads to decode on.
        """
        layout = bank.layout
        self.tasks: dict[str, Task] = {name: bank[name].by_shard() for name in tasks}
        seen: dict[str, Future[str]] = {}
        self._base, self._tied = Assembler(layout, base, [], pool, seen), layout.tied
        self._restored = {
            name: Restored(task, base, layout, pool, seen) for name, task in self.tasks.items()
        }
        self._specs = {name: _by_name(each.specs) for name, each in self._restored.items()}
        self._specs[BASE] = _by_name(base_specs(layout))

    def check(self, planned: PlannedTensor) -> tuple[TensorSpec, ...]:
        """What the tensors are of which one is made.

        Raises:
            UnitMismatchError: they have not all the same shape.
        """
        specs = tuple(self._specs[each.model][each.unit] for each in planned.inputs)
        for each, spec in zip(planned.inputs, specs, strict=True):
            if spec.shape != specs[0].shape:
                first = planned.inputs[0]
                raise UnitMismatchError(
                    f"unit {each.unit!r} has shape {list(spec.shape)} in {each.model!r} and "
                    f"{list(specs[0].shape)} in {first.model!r}: models that were resized cannot "
                    "be merged; bring them to one vocabulary with transformers first"
                )
        return specs

    def base_shape(self, unit: str) -> tuple[int, ...]:
        """The shape of a tensor of the base."""
        return self._specs[BASE][unit].shape

    def start(self, planned: PlannedTensor) -> Callable[[], list[NDArray[Any]]]:
        """Begin to read the tensors of which one is made.

        Returns:
            A function that waits for them, in the order of the inputs; not to be changed.

        Raises:
            CorruptionError: now or when waited for; what is stored is missing or damaged.
            BaseMismatchError, NonFiniteError: when waited for.
        """
        ends = [self._start(each.model, each.unit) for each in planned.inputs]
        return lambda: [end() for end in ends]

    def _start(self, model: str, unit: str) -> Finish:
        if model == BASE:
            return self._base.unchanged(self._tied.get(unit, unit))
        return self._restored[model].start(unit)


def _by_name(specs: Iterable[TensorSpec]) -> dict[str, TensorSpec]:
    return {spec.name: spec for spec in specs}
