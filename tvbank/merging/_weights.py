"""Writing weights: a task as it is (``export``), or several in one (``merge``), unit by unit.

One unit and one shard are in memory, but what ``merge`` returns.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from tvbank._progress import Listener
from tvbank.bank.ahead import all_cores, run_ahead
from tvbank.bank.bank import Bank, as_bank
from tvbank.bank.task import Task
from tvbank.checkpoint import (
    CheckpointSource,
    borrow_checkpoint,
)
from tvbank.folders import CONFIG, LACKS, MAX_SHARD_SIZE, Origin, describe
from tvbank.merging._assemble import Assembler, Finish
from tvbank.merging._method import Merge, MergeMethod, TaskArithmetic, Weighted
from tvbank.merging._output import Output
from tvbank.merging.blend import (
    blend,
    is_domain,
    kept_buffers,
    left_domain,
    named_buffers,
    remark_on_unmerged,
    values_of,
)
from tvbank.merging.registry import METHODS
from tvbank.merging.restored import Restored, base_specs
from tvbank.merging.weights import checked_weights
from tvbank.naming import Names
from tvbank.storage import Location
from tvbank.vector import BaseModel
from tvbank.vector.evidence import is_vector

if TYPE_CHECKING:
    import torch

_ARITHMETIC = TaskArithmetic()


def export(
    bank: Bank | Location,
    task: str,
    *,
    base: CheckpointSource | None = None,
    out: str | os.PathLike[str],
    files: str | os.PathLike[str] | None = None,
    max_shard_size: int | str = MAX_SHARD_SIZE,
    overwrite: bool = False,
    base_model: str | None = None,
    names: Names | None = None,
    prove: bool = True,
    progress: Listener = None,
) -> Path:
    """Write a task as a full checkpoint: base plus delta, and the units it keeps whole.

    A task stored with ``Exact`` comes back bit for bit. In a file, tied units are written under
    each name. A folder is what ``from_pretrained`` loads: weights (tied ones once), configuration,
    tokenizer and other small files of the base, and a card; see ``tvbank.folders``.

    Args:
        bank: an open bank, or its place.
        task: the task's name.
        base: the base's weights, checked against the bank's fingerprints while they are read; by
            default those that ``create`` was given.
        out: the file to write; or a folder, if it ends with a slash or is one. Either appears when
            it is complete.
        files: for a folder, the model whose small files are copied: a folder, a file in it, or a
            URL; by default the base, with what the fine-tune's configuration was when it was added.
        max_shard_size: for a folder, bytes of weights in one file: a number, or a text.
        overwrite: whether the folder may have files: weights and files of the same names are
            replaced.
        base_model: for a folder's card, the base's name on the hub; by default what its place says.
        names: what the base's weights call each of the bank's names, if they name them otherwise
            and no way is found: a mapping or a function, as ``attach`` takes it.
        prove: whether every unit that an exact task changes is compared with the digest that the
            task records of it. Tasks that tvbank wrote before there were such have none.
        progress: a ``Progress``, or a function that is called with bytes done and in all.

    Returns:
        The path of the file or folder.

    Raises:
        TaskNotFoundError: the bank has no such task.
        BaseMismatchError: another base; names the units that differ.
        CorruptionError: what is stored is missing or damaged; ``state`` if other weights come out
            than were added. Nothing is written then.
        UsageError: ``out`` is a file of the base or of the bank, or would be taken for the base, or
            is a folder that has files; or the base is unknown.
        StorageError: the file cannot be written.
    """
    bank = as_bank(bank)
    chosen = bank[task].by_shard()
    source = bank.base_source(base)
    output = Output(
        bank, source, out, files=files, max_shard_size=max_shard_size, overwrite=overwrite,
        base_model=base_model,
    )  # fmt: skip
    with borrow_checkpoint(source) as checkpoint, all_cores() as pool:
        restored = Restored(
            chosen, BaseModel(bank.layout, checkpoint, names=names), bank.layout, pool, prove=prove
        )
        return output.write(
            _origin(chosen), restored.specs, restored.start, progress, kept=set(chosen.extras)
        )


def state_dict(
    bank: Bank | Location,
    task: str,
    *,
    base: CheckpointSource | None = None,
    names: Names | None = None,
) -> dict[str, torch.Tensor]:
    """What ``export`` would write, in memory; see ``Bank.state_dict``."""
    from tvbank.merging.tensor import to_torch

    bank = as_bank(bank)
    chosen = bank[task].by_shard()
    state: dict[str, torch.Tensor] = {}
    with borrow_checkpoint(bank.base_source(base)) as checkpoint, all_cores() as pool:
        restored = Restored(
            chosen, BaseModel(bank.layout, checkpoint, names=names), bank.layout, pool
        )
        named = {spec.name: restored.owner(spec.name) for spec in restored.specs}
        once = [spec for spec in restored.specs if named[spec.name] == spec.name]
        units = run_ahead(once, lambda spec: restored.start(spec.name), lambda spec: spec.nbytes)
        for spec, unit in zip(once, units, strict=True):
            state[spec.name] = to_torch(unit)
    return {name: state[owner] for name, owner in named.items()}


def merge(
    bank: Bank | Location,
    weights: Mapping[str, float],
    *,
    base: CheckpointSource | None = None,
    method: MergeMethod | str = _ARITHMETIC,
    names: Names | None = None,
) -> dict[str, torch.Tensor]:
    """Merge tasks: for every unit, ``base + sum of weight * (task - base)``, or by another method.

    Accumulated in float32, rounded once to the base's element type. Buffers (running variances,
    counters, scales) are averaged instead, whatever the method; see ``tvbank.merging.blend``. Heads
    that the base lacks are not merged; they are in ``bank[task].extras``.

    Examples:
        >>> state = tvbank.merge(bank, {"cats": 0.7, "dogs": 0.3}, method=tvbank.Ties(density=0.2))
        >>> state["encoder.weight"].dtype
        torch.float32

    Args:
        bank: an open bank, or its place.
        weights: task name -> weight; none at all gives the base.
        base: the base's weights, checked against the bank's fingerprints while they are read; by
            default those that ``create`` was given.
        method: ``TaskArithmetic()``, ``Ties(density)`` or ``Dare(drop, seed)``, or its name.
        names: what the base's weights call each of the bank's names, if they name them otherwise
            and no way is found: a mapping or a function, as ``attach`` takes it.

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
    from tvbank.merging.tensor import to_torch

    bank = as_bank(bank)
    merged: dict[str, torch.Tensor] = {}
    with borrow_checkpoint(bank.base_source(base)) as checkpoint, all_cores() as pool:
        model = BaseModel(bank.layout, checkpoint, names=names)
        start = _merged_units(bank, weights, method, model, pool)
        records = bank.layout.records
        units = run_ahead(records, lambda r: start(r.name), lambda r: model.spec(r).nbytes)
        for record, unit in zip(records, units, strict=True):
            merged[record.name] = to_torch(unit)
    for alias, owner in bank.layout.tied.items():
        merged[alias] = merged[owner]
    return merged


def export_merged(
    bank: Bank | Location,
    weights: Mapping[str, float],
    *,
    base: CheckpointSource | None = None,
    method: MergeMethod | str = _ARITHMETIC,
    out: str | os.PathLike[str],
    files: str | os.PathLike[str] | None = None,
    max_shard_size: int | str = MAX_SHARD_SIZE,
    overwrite: bool = False,
    base_model: str | None = None,
    names: Names | None = None,
    progress: Listener = None,
) -> Path:
    """Merge as ``merge`` does and write a file or folder as ``export`` does; errors likewise.

    One unit is in memory.
    """
    bank = as_bank(bank)
    source = bank.base_source(base)
    output = Output(
        bank, source, out, files=files, max_shard_size=max_shard_size, overwrite=overwrite,
        base_model=base_model,
    )  # fmt: skip
    chosen = METHODS.resolve(method)
    with borrow_checkpoint(source) as checkpoint, all_cores() as pool:
        start = _merged_units(
            bank, weights, chosen, BaseModel(bank.layout, checkpoint, names=names), pool
        )
        facts = [("method", describe(chosen.describe()))]
        facts += [(f"weight of {task}", f"{weight:g}") for task, weight in weights.items()]
        origin = Origin(" + ".join(weights) or "base", "merge", {}, facts)
        return output.write(origin, base_specs(bank.layout), start, progress)


def _origin(task: Task) -> Origin:
    """What the card of a task says, and its configuration where that is not the base's."""
    patch = task.metadata.get(CONFIG)
    facts = [
        ("task", task.name),
        ("kept by", describe(task.compressor)),
        ("stored in", f"{task.stored_bytes:,} bytes"),
        ("bits per parameter", f"{task.bits_per_parameter:.3f}"),
    ]
    lacks = task.metadata.get(LACKS)
    return Origin(
        task.name, "finetune", patch if isinstance(patch, Mapping) else {}, facts,
        lacks=[n for n in lacks if isinstance(n, str)] if isinstance(lacks, list) else (),
    )  # fmt: skip


def _merged_units(
    bank: Bank,
    weights: Mapping[str, float],
    method: MergeMethod | str,
    base: BaseModel,
    pool: ThreadPoolExecutor,
) -> Callable[[str], Finish]:
    """A function that begins the work on the merged unit of a name or an alias."""
    tasks: list[Weighted] = []
    for name, weight in checked_weights(weights).items():
        tasks.append(Weighted(bank[name].by_shard(), weight))
    buffers = kept_buffers(bank.layout, [weighted.task for weighted in tasks])
    taking = [weighted.task for weighted in tasks if weighted.weight]
    if remark := remark_on_unmerged(bank.layout, taking, buffers):
        warnings.warn(remark, UserWarning, stacklevel=3)
    buffers |= set(named_buffers(bank.layout))
    combine = METHODS.resolve(method).plan(Merge(tasks, bank.layout, base, pool))
    units = Assembler(bank.layout, base, [weighted.task for weighted in tasks], pool)

    def start(name: str) -> Finish:
        owner = bank.layout.tied.get(name, name)
        record = bank.layout.by_name.get(owner)
        if owner in buffers:
            unchanged = units.unchanged(owner)
            return lambda: _blended(owner, unchanged(), tasks)
        if record is None:
            return units.unchanged(owner)
        finish = units.start(owner, combine)
        return _within_domain(owner, finish, base, tasks) if is_vector(record.shape) else finish

    return start


def _blended(
    name: str, base: NDArray[Any], tasks: Sequence[Weighted], *, sum_: NDArray[Any] | None = None
) -> NDArray[Any]:
    """A buffer of all tasks; the sum instead, if one is given and some task is negative itself."""
    parts = [(each.weight, values_of(each.task, name, base)) for each in tasks]
    if sum_ is not None and not is_domain(parts):
        return sum_
    untouched = all(values is None for _, values in parts)
    return base if untouched else blend(base, parts)


def _within_domain(name: str, finish: Finish, base: BaseModel, tasks: Sequence[Weighted]) -> Finish:
    """The merged unit, or the mean if it is a buffer by its numbers; see ``blend``."""

    def finished() -> NDArray[Any]:
        merged = finish()
        before = base.read_unchecked(name)  # ``finish`` has checked it
        if not left_domain(before, merged):
            return merged
        return _blended(name, before, tasks, sum_=merged)

    return finished
