"""Merging tasks by a method, unit by unit."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tvbank._progress import Listener
from tvbank.bank.ahead import all_cores, run_ahead
from tvbank.bank.bank import Bank
from tvbank.checkpoint import CheckpointSource, borrow_checkpoint
from tvbank.errors import UnitMismatchError, UsageError
from tvbank.merging._arithmetic import TaskArithmetic
from tvbank.merging._assemble import Assembler, Finish
from tvbank.merging._export import base_specs, refuse_overwriting, write_units
from tvbank.merging._method import Merge, MergeMethod, Weighted
from tvbank.vector import BaseModel

if TYPE_CHECKING:
    import torch

_ARITHMETIC = TaskArithmetic()


def merge(
    bank: Bank,
    weights: Mapping[str, float],
    *,
    base: CheckpointSource | None = None,
    method: MergeMethod = _ARITHMETIC,
) -> dict[str, torch.Tensor]:
    """Merge tasks: for every unit, ``base + sum of weight * (task - base)``, or by another method.

    Accumulated in float32, rounded once to the base's element type. What tasks keep whole (heads,
    buffers) is not merged; it is in ``bank[task].extras``.

    Args:
        bank: an open bank.
        weights: task name -> weight; none at all gives the base.
        base: the base's weights, checked against the bank's fingerprints while they are read; by
            default those that ``create`` was given.
        method: ``TaskArithmetic()``, ``Ties(density)`` or ``Dare(drop, seed)``.

    Returns:
        A state dict of the base's units in its element types; tied names share one tensor.

    Raises:
        TaskNotFoundError: the bank lacks a task.
        UsageError: a weight is not a finite number.
        UnitMismatchError: a task has a unit in another shape than the base.
        BaseMismatchError: another base; names the units that differ.
        NonFiniteError: a merged weight is not finite.
        CorruptionError: what is stored is missing or damaged.
    """
    from tvbank.merging._tensor import to_torch

    merged: dict[str, torch.Tensor] = {}
    with borrow_checkpoint(bank.base_source(base)) as checkpoint, all_cores() as pool:
        model = BaseModel(bank.layout, checkpoint)
        start = _merged_units(bank, weights, method, model, pool)
        records = bank.layout.records
        units = run_ahead(records, lambda r: start(r.name), lambda r: model.spec(r).nbytes)
        for record, unit in zip(records, units, strict=True):
            merged[record.name] = to_torch(unit)
    for alias, owner in bank.layout.tied.items():
        merged[alias] = merged[owner]
    return merged


def export_merged(
    bank: Bank,
    weights: Mapping[str, float],
    *,
    base: CheckpointSource | None = None,
    method: MergeMethod = _ARITHMETIC,
    out: str | os.PathLike[str],
    progress: Listener = None,
) -> Path:
    """Merge as ``merge`` does and write a safetensors file, one unit in memory; errors likewise."""
    path = Path(out)
    with borrow_checkpoint(bank.base_source(base)) as checkpoint, all_cores() as pool:
        refuse_overwriting(path, checkpoint)
        start = _merged_units(bank, weights, method, BaseModel(bank.layout, checkpoint), pool)
        write_units(path, base_specs(bank.layout), start, progress)
    return path


def _merged_units(
    bank: Bank,
    weights: Mapping[str, float],
    method: MergeMethod,
    base: BaseModel,
    pool: ThreadPoolExecutor,
) -> Callable[[str], Finish]:
    """A function that begins the work on the merged unit of a name or an alias."""
    tasks: list[Weighted] = []
    for name, weight in weights.items():
        if not math.isfinite(weight):
            raise UsageError(f"the weight of task {name!r} must be a finite number, got {weight!r}")
        tasks.append(Weighted(bank[name].by_shard(), float(weight)))
    for weighted in tasks:
        if missing := [unit for unit in bank.layout.by_name if unit not in weighted.task]:
            raise UnitMismatchError(
                f"task {weighted.task.name!r} keeps unit {missing[0]!r} whole, in another shape or "
                "element type than the base: it cannot be merged; export it instead"
            )
    combine = method.plan(Merge(tasks, bank.layout, base, pool))
    units = Assembler(bank.layout, base, [weighted.task for weighted in tasks], pool)

    def start(name: str) -> Finish:
        owner = bank.layout.tied.get(name, name)
        known = owner in bank.layout.by_name
        return units.start(owner, combine) if known else units.unchanged(owner)

    return start
