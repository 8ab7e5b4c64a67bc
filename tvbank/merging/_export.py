"""Writing a task as a full checkpoint: one unit and one shard in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tvbank._progress import Counter, Listener, listener
from tvbank.bank.ahead import all_cores, run_ahead
from tvbank.bank.bank import Bank
from tvbank.bank.task import Task
from tvbank.checkpoint import (
    Checkpoint,
    CheckpointSource,
    TensorSpec,
    aligned_order,
    borrow_checkpoint,
    write_safetensors,
)
from tvbank.errors import UsageError
from tvbank.layout import Layout
from tvbank.merging._apply import restore
from tvbank.merging._assemble import Assembler, Finish, NumberedFrame
from tvbank.vector import BaseModel


def export(
    bank: Bank,
    task: str,
    *,
    base: CheckpointSource | None = None,
    out: str | os.PathLike[str],
    progress: Listener = None,
) -> Path:
    """Write a task as a safetensors file: base plus delta, and the units it keeps whole.

    A task stored with ``Exact`` comes back bit for bit. Tied units are written under each name.

    Args:
        bank: an open bank.
        task: the task's name.
        base: the base's weights, checked against the bank's fingerprints while they are read; by
            default those that ``create`` was given.
        out: the file to write; it appears when it is complete.
        progress: a ``Progress``, or a function that is called with bytes done and in all.

    Returns:
        The path of the file.

    Raises:
        TaskNotFoundError: the bank has no such task.
        BaseMismatchError: another base; names the units that differ.
        CorruptionError: what is stored is missing or damaged.
        UsageError: ``out`` is the base itself, or the base is unknown.
        StorageError: the file cannot be written.
    """
    chosen, path = bank[task].by_shard(), Path(out)
    with borrow_checkpoint(bank.base_source(base)) as checkpoint, all_cores() as pool:
        refuse_overwriting(path, checkpoint)
        units = Assembler(bank.layout, BaseModel(bank.layout, checkpoint), [chosen], pool)

        def restored(
            name: str, block: NDArray[Any], frames: Sequence[NumberedFrame]
        ) -> NDArray[Any]:
            return restore(name, block, chosen.decode(frames[0][1]))

        def start(name: str) -> Finish:
            if (kept := _kept_as(bank.layout, chosen, name)) is not None:
                return lambda: chosen.extras[kept]
            owner = bank.layout.tied.get(name, name)
            return units.start(owner, restored) if owner in chosen else units.unchanged(owner)

        write_units(path, _specs(bank.layout, chosen), start, progress)
    return path


def refuse_overwriting(path: Path, base: Checkpoint) -> None:
    """Keep a result from replacing the base that it is made from.

    Raises:
        UsageError: if both are one file.
    """
    if path.exists() and os.path.exists(base.source) and path.samefile(base.source):
        raise UsageError(f"{path} is the base itself: choose another output file")


def write_units(
    path: Path,
    specs: list[TensorSpec],
    start: Callable[[str], Finish],
    progress: Listener,
) -> None:
    """Write units to a safetensors file, reporting bytes done and bytes in all.

    Args:
        path: the file.
        specs: what the units are.
        start: begins the work on the unit of that name; later ones begin before it is done.
        progress: see ``export``.
    """
    ordered = aligned_order(specs)
    counter = Counter(listener(progress), sum(spec.nbytes for spec in specs))

    def counted(unit: NDArray[Any]) -> NDArray[Any]:
        counter.advance(unit.nbytes)
        return unit

    units = run_ahead(ordered, lambda spec: start(spec.name), lambda spec: spec.nbytes)
    write_safetensors(path, ordered, map(counted, units))


def base_specs(layout: Layout) -> list[TensorSpec]:
    """What the base's own tensors are, tied ones under each of their names."""
    specs = {r.name: TensorSpec(r.name, r.dtype, r.shape) for r in layout.records}
    aliases = [replace(specs[owner], name=alias) for alias, owner in layout.tied.items()]
    return [*specs.values(), *aliases]


def _specs(layout: Layout, task: Task) -> list[TensorSpec]:
    """The base's tensors, as the task replaces them, then the other units it keeps whole."""
    specs = {spec.name: spec for spec in base_specs(layout)}
    for name in [*specs, *task.extras]:
        if (kept := _kept_as(layout, task, name)) is not None:
            record = task.extras.record(kept)
            specs[name] = TensorSpec(name, record.dtype, record.shape)
    return list(specs.values())


def _kept_as(layout: Layout, task: Task, name: str) -> str | None:
    """The extra that holds a tensor: its own, or that of the unit to which it is tied."""
    return next((n for n in (name, layout.tied.get(name)) if n in task.extras), None)
