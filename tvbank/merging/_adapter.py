"""A task written out as an adapter: as it came, or as the best one of a rank."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank._progress import Counter, Listener, listener
from tvbank.adapters import (
    PeftFolder,
    approximate,
    is_embedding,
    is_turned,
    plain_config,
    write_peft,
)
from tvbank.bank.bank import Bank, as_bank
from tvbank.bank.outputs import refuse_within
from tvbank.bank.task import Task
from tvbank.checkpoint import CheckpointSource, borrow_checkpoint
from tvbank.errors import NonFiniteError, UsageError, name_some
from tvbank.layout import UnitRecord
from tvbank.merging.apply import restore
from tvbank.naming import Names
from tvbank.storage import Location
from tvbank.vector import BaseModel

_PREFIX = "base_model.model."


@final
@dataclass(frozen=True)
class AdapterReport:
    """What was written.

    Attributes:
        path: of the folder.
        modules: number of modules with factors.
        bytes: of all tensors.
        error: norm of what the adapter leaves out over the norm of all that the task changes; 0
            for a task of products, of which nothing is left out.
        left_out: names of changed units that no product can be near: vectors, and what the task
            keeps whole.
    """

    path: str
    modules: int
    bytes: int
    error: float
    left_out: tuple[str, ...] = ()


def export_adapter(
    bank: Bank | Location,
    task: str,
    *,
    out: str | os.PathLike[str],
    rank: int | None = None,
    base: CheckpointSource | None = None,
    overwrite: bool = False,
    names: Names | None = None,
    progress: Listener = None,
) -> AdapterReport:
    """Write a task as a LoRA adapter, in a folder that PEFT loads.

    Args:
        bank: an open bank, or its place.
        task: the task's name.
        out: the folder.
        rank: of any task, write the adapter of this rank that is nearest to what it changes, unit
            by unit, in the sum of squares. By default the task must be an adapter, and comes back
            with every bit and its configuration.
        base: the base's weights, for the differences of an exact task; by default those that
            ``create`` was given.
        overwrite: whether the folder may be there.
        names: what the base's weights call each of the bank's names; see ``export``.
        progress: a ``Progress``, or a function that is called with units done and in all.

    Raises:
        TaskNotFoundError: the bank has no such task.
        UsageError: the task is no adapter and no rank is given; or the folder exists.
        NonFiniteError: the task has differences that are NaN or infinite.
        BaseMismatchError, CorruptionError, StorageError: as ``export``.
    """
    bank = as_bank(bank)
    chosen, path = bank[task].by_shard(), Path(out)
    refuse_within(bank.storage, path)
    if path.exists() and not (overwrite and path.is_dir()):
        raise UsageError(f"{path} exists: choose another folder, or overwrite it (--force)")
    if rank is not None and (type(rank) is not int or rank < 1):
        raise UsageError(f"rank must be a positive integer, got {rank!r}")
    if rank is None:
        _refuse_others(bank, chosen)
        left_out: list[str] = []
        folder, error = _as_it_came(chosen), 0.0
        counts = len(chosen.products)
    else:
        with borrow_checkpoint(bank.base_source(base)) as checkpoint:
            model = BaseModel(bank.layout, checkpoint, names=names)
            units = _changes(bank, chosen, model)
            counter = Counter(listener(progress), len(bank.layout.units))
            folder, error, left_out = _nearest(units, rank, counter)
        left_out += list(chosen.extras)
        counts = len(folder.tensors) // 2
    write_peft(folder, path)
    size = sum(array.nbytes for array in folder.tensors.values())
    return AdapterReport(str(path), counts, size, error, tuple(left_out))


def _refuse_others(bank: Bank, task: Task) -> None:
    """Refuse a task that is no adapter.

    Raises:
        UsageError: says what it is, and the remedy.
    """
    products = task.products
    entries = task.nonzeros - sum(bank.layout.by_name[name].size for name in products)
    remedy = "give a rank (--rank 16) for the nearest adapter of that rank"
    if not products or entries:
        raise UsageError(
            f"task {task.name!r} is no adapter ({task.compressor.get('name')}): {remedy}"
        )
    if modules := task.document.adapter.get("parts_of"):
        raise UsageError(
            f"task {task.name!r} has {name_some(modules)} of its adapter in parts, as the base's "
            f"files have them: {remedy}"
        )


def _as_it_came(task: Task) -> PeftFolder:
    """The very tensors and configuration of an adapter."""
    known: dict[str, Any] = task.document.adapter
    names = known.get("modules", {})
    modules = {unit: names.get(unit, unit.rpartition(".")[0]) for unit in task.products}
    products = dict(task.products)
    weights = {modules[unit]: p for unit, p in products.items() if len(p.shape) != 1}
    config = known.get("config") or plain_config(
        {module: (p.most or p.rank, p.scale) for module, p in weights.items()},
        turned=any(is_turned(module) for module in weights),
    )
    folder = PeftFolder(dict(config))
    if any(product.packed is not None for product in products.values()):
        config = dict(config) | {"target_modules": sorted(weights)}
        folder.config = config
    for unit, product in products.items():
        b, a = product.b, product.a
        if product.packed is not None:
            b, a = _evened(b, a, product.most or product.rank)
        if len(product.shape) == 1:
            folder.bias(modules[unit], b if product.packed is None else b @ a)
            continue
        embedding = unit in known.get("embeddings", ())
        folder.factors(modules[unit], product.shape, b, a, embedding=embedding)
    whole = known.get("whole", {})
    for name, array in task.extras.items():
        folder.whole(whole.get(name, _PREFIX + name), array)
    return folder


def _evened(
    b: NDArray[np.float32], a: NDArray[np.float32], rank: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Factors of a rank with the same product, whose numbers are of one size on both sides.

    Packed ones are whole numbers and small steps, which other element types hold less well. Only
    by powers of two, so that no bit is lost; components that vanished are zeros.
    """
    sides = np.log2(np.abs(b).max(0, initial=1)), np.log2(np.abs(a).max(1, initial=2.0**-149))
    shift = np.rint((sides[1] - sides[0]) / 2).astype(np.int32)
    more = ((0, 0), (0, rank - len(shift)))
    even_b = np.pad(np.ldexp(b, shift[None]), more)
    even_a = np.pad(np.ldexp(a, -shift[:, None]), more[::-1])
    return even_b, even_a


def _changes(
    bank: Bank, task: Task, base: BaseModel
) -> Iterator[tuple[UnitRecord, NDArray[np.float32] | None]]:
    """What a task changes of each unit, [its shape]; ``None`` where nothing.

    Raises:
        NonFiniteError: a difference is NaN or infinite.
    """
    for unit in bank.layout.units:
        if unit.name not in task or not unit.size:
            continue
        if task.element == "float32":
            change = task[unit.name].to_dense()
        else:
            weights = base.read(unit.name)
            positions, steps = task[unit.name].to_sparse(weights if task.needs_base else None)
            before = weights.reshape(-1)
            after = restore(unit.name, before, (positions.astype(np.uint32), steps))
            with np.errstate(invalid="ignore", over="ignore"):
                change = (after.astype(np.float32) - before.astype(np.float32)).reshape(unit.shape)
        if not np.isfinite(change).all():
            raise NonFiniteError(
                f"task {task.name!r}: differences of {unit.name!r} are NaN or infinite: no adapter "
                "is near them"
            )
        yield unit, change if change.any() else None


def _nearest(
    changes: Iterator[tuple[UnitRecord, NDArray[np.float32] | None]], rank: int, counter: Counter
) -> tuple[PeftFolder, float, list[str]]:
    """The nearest adapter, its error, and the units that it leaves out."""
    folder, scales = PeftFolder({}), {}
    left_out: list[str] = []
    lost = total = 0.0
    turned = False
    for unit, change in changes:
        counter.advance(1)
        if change is None:
            continue
        module, _, parameter = unit.name.rpartition(".")
        if len(unit.shape) < 2 or parameter != "weight":
            square = float((change.astype(np.float64) ** 2).sum())
            lost, total = lost + square, total + square
            left_out.append(unit.name)
            continue
        embedding, turn = is_embedding(module), len(unit.shape) == 2 and is_turned(module)
        matrix = change.reshape(unit.shape[0], -1)
        found = approximate(matrix.T if embedding or turn else matrix, rank)
        lost, total = lost + found.left_out, total + found.total
        folder.factors(module, unit.shape, found.b, found.a, embedding=embedding)
        scales[module] = (len(found.a), 1.0)
        turned |= turn
    folder.config = plain_config(scales, turned=turned)
    return folder, math.sqrt(lost / total) if total else 0.0, left_out
