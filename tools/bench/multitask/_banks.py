"""Banks of the fine-tunes, and models that hold what is read from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

import tvbank
from tools.bench.multitask._trial import Examples, Hits, Trial, hits_of
from tools.bench.realtasks import RealTask
from tvbank import Bank
from tvbank.compress import Compressor

State = dict[str, torch.Tensor]


def bank_of(trial: Trial, path: Path, compressor: Callable[[RealTask], Compressor]) -> Bank:
    """Write a bank of all fine-tunes; what is returned reads its bytes anew.

    A bank that lies there is taken as it is, its missing tasks added.
    """
    bank = tvbank.open(path) if path.exists() else tvbank.create(path, base=trial.family.base)
    for name, task in trial.tasks.items():
        if name not in bank:
            bank.add(name, task.tuned, compressor(task))
    return tvbank.open(path)


def stored_bytes(bank: Bank) -> int:
    """Bytes of all tasks."""
    return sum(task.stored_bytes for task in bank.values())


def switched_hits(trial: Trial, examples: Mapping[str, Examples], bank: Bank) -> Hits:
    """What is right with the task known, from a live model that the bank is attached to."""
    model = trial.family.model()
    switch = tvbank.attach(model, bank)

    def to(name: str) -> torch.nn.Module:
        switch.to(name)
        return model

    return hits_of(trial, examples, to)


def loader(trial: Trial) -> Callable[[State], torch.nn.Module]:
    """A function that puts weights into a model of the family."""
    model = trial.family.model()

    def load(state: State) -> torch.nn.Module:
        model.load_state_dict(state)
        return model

    return load
