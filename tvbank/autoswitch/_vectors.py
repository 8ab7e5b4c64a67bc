"""A router made of a bank's own task vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from tvbank.bank.bank import Bank
from tvbank.errors import UsageError
from tvbank.naming import Names
from tvbank.routing.vectors import VectorRouter, directions
from tvbank.storage import Location
from tvbank.switching import Switch, attach, bank_for

Weight = Callable[[], torch.Tensor]


def vector_router(
    model: torch.nn.Module,
    bank: Bank | Location,
    tasks: Iterable[str] | None = None,
    *,
    rank: int = 16,
    prefix: str | None = None,
    names: Names | None = None,
) -> VectorRouter:
    """Route by the task vectors themselves, where there are no examples to fit a router to.

    It is less often right than a router fitted to a hundred examples of each task, and where the
    inputs of tasks look alike it can be wrong about most (docs/measured/routing.md). The model
    turns into each task once, and back. What is kept in memory takes ``rank`` rows of
    each linear layer's inputs a task, in float32.

    Args:
        model: that holds the bank's base, in evaluation mode.
        bank: an open bank, or its place.
        tasks: names, by default all.
        rank: singular values of each layer that are looked at; more cost time.
        prefix: see ``tvbank.attach``.
        names: see ``tvbank.attach``.

    Raises:
        TaskNotFoundError: the bank lacks a task.
        UsageError: fewer than two tasks, or one that changes no linear layer.
        BaseMismatchError, CheckpointError: as ``tvbank.attach``.
    """
    if rank < 1:
        raise UsageError(f"rank= is 1 or more, got {rank}")
    opened = bank_for(model, bank)
    switch = attach(model, opened, prefix=prefix, names=names)
    try:
        return _made(model, opened, switch, list(opened if tasks is None else tasks), rank)
    finally:
        switch.close()


def _made(
    model: torch.nn.Module, bank: Bank, switch: Switch, tasks: Sequence[str], rank: int
) -> VectorRouter:
    units = {unit for task in tasks for unit in bank[task].extras}
    whole = {name for unit in units for name in switch.names_of(unit)}
    layers = [pair for pair in _linear(model) if f"{pair[0]}.weight" not in whole]
    base = {name: weight().clone() for name, weight in layers}
    changes = []
    for task in tasks:
        switch.to(task)
        changes.append(
            {name: directions(weight().float() - base[name], rank) for name, weight in layers}
        )
    return VectorRouter.of(tasks, changes)


def _linear(model: torch.nn.Module) -> Iterator[tuple[str, Weight]]:
    """Names of the model's linear layers, and what returns their weights, [out, in]."""
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            yield name, partial(_weight, module, turned=False)
        elif type(module).__name__ == "Conv1D":  # of transformers, as GPT-2 has it
            yield name, partial(_weight, module, turned=True)


def _weight(module: Any, *, turned: bool) -> torch.Tensor:
    weight: torch.Tensor = module.weight.detach()
    return weight.T if turned else weight
