"""What one version of weights has otherwise than the one before, unit by unit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.ahead import all_cores
from tvbank.bank.bank import Bank, as_bank
from tvbank.bank.task import Task
from tvbank.checkpoint import CheckpointSource, TensorSpec, borrow_checkpoint
from tvbank.layout import Layout
from tvbank.merging.restored import Restored, base_specs
from tvbank.merging.tensor import to_torch
from tvbank.naming import Names
from tvbank.storage import Location
from tvbank.vector import BaseModel

if TYPE_CHECKING:
    import torch


class Patch(NamedTuple):
    """What stands in a tensor afterwards, in absolute values.

    Attributes:
        name: of the tensor.
        shape: of the tensor.
        dtype: its element type, which ``values`` have.
        indices: int64 [k], ascending, places in the flattened tensor; None if ``values`` are the
            whole tensor: one that the base has not, or has in another shape or element type.
        values: [k], or all of the flattened tensor.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    indices: torch.Tensor | None
    values: torch.Tensor


def patches(
    bank: Bank | Location,
    task: str,
    *,
    base: CheckpointSource | None = None,
    after: str | None = None,
    names: Names | None = None,
) -> Iterator[Patch]:
    """What a task changes, as absolute values: what vLLM's weight patches take.

    Args:
        bank: an open bank, or its place.
        task: its name.
        base: the base's weights, checked against the bank's fingerprints while they are read; by
            default those that ``create`` was given.
        after: the task whose weights are there already; by default the base's are.
        names: what the base's weights call each of the bank's names, if no way is found: a mapping,
            or a function. Patches have the bank's.

    Yields:
        A patch for each tensor of which any bit differs; tied ones once. One is in memory.

    Raises:
        TaskNotFoundError, BaseMismatchError, CorruptionError, UsageError: as ``tvbank.export``.
    """
    bank = as_bank(bank)
    before = None if after is None else bank[after]
    return patches_of(bank[task], bank.layout, bank.base_source(base), before, names=names)


def patches_of(
    task: Task,
    layout: Layout,
    base: CheckpointSource,
    before: Task | None = None,
    *,
    names: Names | None = None,
) -> Iterator[Patch]:
    """The same of a task that was opened."""
    with changed_units(task, layout, base, before, names) as units:
        for spec, old, new in units:
            if old is None:
                whole = to_torch(new)
                yield Patch(spec.name, spec.shape, whole.dtype, None, whole.reshape(-1))
                continue
            places = np.flatnonzero(bits(old) != bits(new))
            values = to_torch(new.reshape(-1)[places])
            yield Patch(spec.name, spec.shape, values.dtype, to_torch(places), values)


def bits(array: NDArray[Any]) -> NDArray[Any]:
    """The entries of an array, flattened, as unsigned integers; two where there is no such type."""
    flat = array.reshape(-1)
    return flat.view(f"u{flat.dtype.itemsize}") if flat.dtype.itemsize <= 8 else flat.view("u8")


#: A tensor's spec, its weights before (None if there are none of its shape and type), and after.
Changed = tuple[TensorSpec, NDArray[Any] | None, NDArray[Any]]


@contextmanager
def changed_units(
    task: Task,
    layout: Layout,
    base: CheckpointSource,
    before: Task | None,
    names: Names | None = None,
) -> Iterator[Iterator[Changed]]:
    """The tensors of a task of which any bit differs from the version before; tied ones once."""
    with borrow_checkpoint(base) as checkpoint, all_cores() as pool:
        model = BaseModel(layout, checkpoint, names=names)
        yield _changed(
            Restored(task.by_shard(), model, layout, pool),
            None if before is None else Restored(before.by_shard(), model, layout, pool),
            {spec.name: spec for spec in base_specs(layout)},
            model,
        )


def _changed(
    new: Restored, old: Restored | None, specs: dict[str, TensorSpec], base: BaseModel
) -> Iterator[Changed]:
    known = specs if old is None else {spec.name: spec for spec in old.specs}
    for spec in new.specs:
        if new.owner(spec.name) != spec.name:
            continue
        after = new.start(spec.name)()
        if known.get(spec.name) != spec:
            yield spec, None, after
            continue
        start = base.read_unchecked(spec.name) if old is None else old.start(spec.name)()
        if not np.array_equal(bits(start), bits(after)):
            yield spec, start, after
