"""Buffers of several tasks: a mean of theirs, never a sum, so that they stay in their domain.

A running variance is no weight: ``base + sum of weight * (task - base)`` can make it negative, and
every output NaN. What counts as a buffer: what a name says (``naming.meanings``); what a task
keeps whole though it has the base's form; and vectors that are negative nowhere, but in the sum.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.task import Task
from tvbank.dtypes import ELEMENT_TYPES
from tvbank.errors import UnitMismatchError, name_units
from tvbank.layout import Layout, UnitRecord, WholeRecord
from tvbank.merging.apply import restore
from tvbank.naming.meanings import is_buffer
from tvbank.vector.evidence import is_never_negative

#: A task's weight, and its values; ``None`` for those of the base.
Part = tuple[float, NDArray[Any] | None]


def named_buffers(layout: Layout) -> dict[str, UnitRecord | WholeRecord]:
    """The units of a base that are buffers by their names or hold integers."""
    names = {record.name for record in layout.records}
    return {
        record.name: record
        for record in layout.records
        if is_buffer(record.name, names) or ELEMENT_TYPES[record.dtype].is_integer
    }


def kept_buffers(layout: Layout, tasks: Iterable[Task]) -> set[str]:
    """Buffers that some task keeps whole, in a form that can be averaged with others.

    Raises:
        UnitMismatchError: a task keeps a unit whole in another shape or element type.
    """
    with_extras = [task for task in tasks if task.extras]
    if not with_extras:
        return set()
    named, kept = named_buffers(layout), set()
    for task in with_extras:
        for name in task.extras:
            record = layout.by_name.get(name) or named.get(name)
            if record is None:
                continue
            extra = task.extras.record(name)
            same_type = extra.dtype == record.dtype
            if extra.shape == record.shape and (
                same_type or _convertible(name, named, extra.dtype)
            ):
                kept.add(name)
            elif name in layout.by_name:
                raise UnitMismatchError(
                    f"task {task.name!r} keeps unit {name!r} whole, in another shape or element "
                    "type than the base: it cannot be merged; switch to it alone, or export it "
                    "instead"
                )
    return kept


def remark_on_unmerged(layout: Layout, tasks: Sequence[Task], kept: Collection[str]) -> str | None:
    """What to tell of units that tasks keep whole and that no merge takes: the base's stay.

    Those are weights without deltas (float64, float8, complex), and buffers of another shape.

    Args:
        layout: of the base.
        tasks: that are merged.
        kept: what ``kept_buffers`` returned for them.

    Returns:
        A sentence that names the units; ``None`` if there are none.
    """
    names = {
        name: layout.whole_by_name[name].dtype
        for task in tasks
        for name in task.extras
        if name in layout.whole_by_name and name not in kept
    }
    if not names:
        return None
    kinds = ", ".join(sorted(set(names.values())))
    return (
        f"the sum leaves {name_units(names)} ({kinds}) as in the base: what is kept whole is not "
        "merged. Use one task alone, or a bank of a base in float32 or bfloat16"
    )


def _convertible(name: str, named: Mapping[str, object], dtype: str) -> bool:
    return name in named and ELEMENT_TYPES[dtype].is_float


def values_of(task: Task, name: str, base: NDArray[Any]) -> NDArray[Any] | None:
    """One task's values of a unit of the layout, in its shape; ``None`` if they are the base's.

    Raises:
        CorruptionError: what is stored is missing or damaged.
    """
    if name in task.extras:
        return task.extras[name]
    if name not in task:
        return None
    positions, entries = task[name].to_sparse(base if task.needs_base else None)
    if not len(positions):
        return None
    flat = restore(name, base.reshape(-1), (positions.astype(np.uint32), entries))
    return flat.reshape(base.shape)


def blend(base: NDArray[Any], parts: Sequence[Part]) -> NDArray[Any]:
    """The mean of the tasks that take part, by their weights, in the base's shape and element type.

    Weights that sum to more than one are divided by their sum; where they sum to less, the base has
    the rest. A task with a negative weight has no part. Nothing is beyond the least and the
    greatest of what is averaged. A counter, which is one integer, is the greatest of theirs; other
    integers are those of the task with the largest weight.
    """
    taking = [(w, base if values is None else values) for w, values in parts if w > 0]
    if not taking:
        return base
    if not ELEMENT_TYPES[base.dtype.name].is_float:
        chosen = max(taking, key=lambda part: part[0])[1]
        if base.size == 1 and base.dtype.kind in "iu":
            chosen = np.maximum.reduce([values for _, values in taking])
        return np.asarray(chosen).astype(base.dtype, copy=False)
    total = sum(weight for weight, _ in taking)
    shares = [(weight / max(1.0, total), values) for weight, values in taking]
    if total < 1:
        shares.append((1 - total, base))
    all_values = [values.astype(np.float64) for _, values in shares]
    if len(shares) == 1:
        return shares[0][1].astype(base.dtype, copy=False)
    mean = np.zeros(base.shape)
    for (share, _), values in zip(shares, all_values, strict=True):
        mean += share * values
    mean = np.clip(mean, np.minimum.reduce(all_values), np.maximum.reduce(all_values))
    return np.asarray(mean).astype(base.dtype)


def left_domain(base: NDArray[Any], merged: NDArray[Any]) -> bool:
    """Whether a sum has a negative value although the base has none."""
    return bool((merged < 0).any()) and is_never_negative(base)


def is_domain(parts: Iterable[Part]) -> bool:
    """Whether no task has a negative value: then the vector is a buffer, and no weight."""
    return all(values is None or bool((values >= 0).all()) for _, values in parts)
