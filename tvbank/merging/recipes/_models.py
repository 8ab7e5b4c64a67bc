"""The models of a recipe in a bank: whole tensors of tasks and of the base."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePath
from typing import Any, Final, final

from numpy.typing import NDArray

from tvbank.bank.bank import Bank
from tvbank.bank.task import Task
from tvbank.checkpoint import CheckpointSource, TensorSpec
from tvbank.errors import UnitMismatchError, name_some
from tvbank.layout import fingerprint
from tvbank.merging.apply import restore
from tvbank.merging.recipes._plan import PlannedTensor
from tvbank.merging.recipes._yaml import Node
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
    """Reads whole tensors of models, those of one group at the same time on all cores."""

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
        self._layout, self._base, self._pool = bank.layout, base, pool
        self.tasks: dict[str, Task] = {name: bank[name].by_shard() for name in tasks}

    def spec(self, model: str, unit: str) -> TensorSpec:
        """Shape and element type of a tensor."""
        owner = self._layout.tied.get(unit, unit)
        record: Any = self._layout.by_name.get(owner) or self._layout.whole_by_name[owner]
        if model != BASE and (kept := self._kept(model, unit)) is not None:
            record = self.tasks[model].extras.record(kept)
        return TensorSpec(unit, record.dtype, record.shape)

    def check(self, planned: PlannedTensor) -> tuple[TensorSpec, ...]:
        """What the tensors are of which one is made.

        Raises:
            UnitMismatchError: they have not all the same shape.
        """
        specs = tuple(self.spec(each.model, each.unit) for each in planned.inputs)
        for each, spec in zip(planned.inputs, specs, strict=True):
            if spec.shape != specs[0].shape:
                first = planned.inputs[0]
                raise UnitMismatchError(
                    f"unit {each.unit!r} has shape {list(spec.shape)} in {each.model!r} and "
                    f"{list(specs[0].shape)} in {first.model!r}: models that were resized cannot "
                    "be merged; bring them to one vocabulary with transformers first"
                )
        return specs

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

    def _kept(self, model: str, unit: str) -> str | None:
        extras = self.tasks[model].extras
        owner = self._layout.tied.get(unit, unit)
        return next((name for name in (unit, owner) if name in extras), None)

    def _start(self, model: str, unit: str) -> Callable[[], NDArray[Any]]:
        if model != BASE and (kept := self._kept(model, unit)) is not None:
            extras = self.tasks[model].extras
            return lambda: extras[kept]
        owner = self._layout.tied.get(unit, unit)
        base = self._base.read_unchecked(owner)
        seen = self._pool.submit(fingerprint, base)
        made, parts = base, []
        if model != BASE and owner in self.tasks[model]:
            task, length = self.tasks[model], self._layout.chunk_length
            flat = base.reshape(-1).copy()

            def decode(frame: Any) -> None:
                block = flat[frame.first : frame.first + length]
                block[:] = restore(owner, block, task.decode(frame))

            parts = [self._pool.submit(decode, frame) for frame in task.frames(owner)]
            made = flat.reshape(base.shape)

        def finish() -> NDArray[Any]:
            self._base.check(owner, seen.result())
            for part in parts:
                part.result()
            return made

        return finish


def promoted(names: Sequence[str]) -> str:
    """The element type that several have in common, as torch says."""
    import torch

    found: torch.dtype = getattr(torch, names[0])
    for name in names[1:]:
        found = torch.promote_types(found, getattr(torch, name))
    return str(found).removeprefix("torch.")
