"""The task known: fine-tunes, EMR-Merging, T-Switch, Budget, FlexSwitch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from safetensors.torch import load_file

import tvbank
from tools.bench.compress._methods import Learning, learner
from tools.bench.multitask._baselines import Emr, emr_of
from tools.bench.multitask._trial import (
    Row,
    State,
    Trial,
    bank_of,
    hits_of,
    loader,
    mean,
    stored_bytes,
    switched_hits,
)
from tools.bench.realtasks import RealTask
from tvbank import Bank
from tvbank.compress import Compressor

#: What T-Switch is chosen from.
DROPS = (0.5, 0.7, 0.8, 0.85, 0.88, 0.9, 0.95)
KNOBS: tuple[Literal["rms", "norm"], ...] = ("rms", "norm")

_LEARNING = Learning(200, ("kl",), "cpu")  # of FlexSwitch

Say = Callable[[str], None]


class Known(NamedTuple):
    """A row with the task known, and the bank it was read from."""

    row: Row
    bank: Bank


def base_row(trial: Trial) -> Row:
    """The base under the tasks' heads."""
    model = trial.family.model()
    return Row("base", "", hits_of(trial, trial.tests, lambda _: model), 0)


def tuned_row(trial: Trial, exact: Bank) -> Row:
    """Every task's own fine-tune, read from the bank of exact tasks."""
    hits = switched_hits(trial, trial.tests, exact)
    whole = sum(task.tuned.stat().st_size for task in trial.tasks.values())
    note = f"as tvbank.Exact: {stored_bytes(exact) / 2**20:.1f} MiB"
    return Row("fine-tuned", "", hits, whole, note=note)


def emr_of_bank(trial: Trial, exact: Bank) -> Emr:
    """EMR-Merging of the exact bank's tasks; it has nothing to tune."""
    base: State = load_file(trial.family.base)
    vectors = {}
    for name in exact:
        state = tvbank.merge(exact, {name: 1.0}, base=trial.family.base)
        vectors[name] = {unit: state[unit] - weights for unit, weights in base.items()}
    return emr_of(vectors)


def emr_row(trial: Trial, merged: Emr) -> Row:
    """EMR-Merging."""
    base, load = load_file(trial.family.base), loader(trial)

    def model_for(task: str) -> torch.nn.Module:
        return load(merged.state(base, task))

    return Row("EMR-Merging", "", hits_of(trial, trial.tests, model_for), merged.stored)


def tswitch(
    trial: Trial, folder: Path, allowed: int, drops: Sequence[float], say: Say
) -> Iterator[Known]:
    """T-Switch at the setting that does best on the tuning examples: of all, and of small ones.

    Args:
        trial: the fine-tunes.
        folder: where the banks are written.
        allowed: bytes that the small one may take.
        drops: shares to drop to choose among.
        say: takes progress.
    """
    makes: dict[str, Callable[[RealTask], Compressor]] = {}
    for drop in drops:
        for knob in KNOBS:
            makes[f"drop={drop} knob={knob}"] = partial(_same, tvbank.TSwitch(drop, knob))
    found = _tried(trial, folder, "T-Switch", makes, say)
    yield _best(trial, "T-Switch", found)
    if small := [each for each in found if stored_bytes(each[2]) <= allowed]:
        yield _best(trial, "T-Switch, small", small)


def budget(trial: Trial, folder: Path, other: Bank) -> Known:
    """Budget at the bytes of another bank of the same tasks."""
    bits = sum(task.bits_per_parameter for task in other.values()) / len(other)
    compressor = tvbank.Budget(f"{bits:.4f} bits/param")
    bank = bank_of(trial, folder / f"Budget {bits:.4f}", lambda _: compressor)
    return _known(trial, "Budget", f"{bits:.3f} bits/param", bank)


def flexswitch(trial: Trial, folder: Path, sizes: Sequence[str], say: Say) -> Known:
    """FlexSwitch at the size of some that does best on the tuning examples."""

    def make(size: str, task: RealTask) -> Compressor:
        say(f"FlexSwitch {size}: {task.name}")
        return learner(
            trial.family, task, 0, 1.0, loss="kl", lam=1.0, learning=_LEARNING, budget=size
        )

    makes = {size: partial(make, size) for size in sizes}
    return _best(trial, "FlexSwitch", _tried(trial, folder, "FlexSwitch", makes, say))


#: Accuracy on the tuning examples, setting, bank.
_Found = tuple[float, str, Bank]


def _tried(
    trial: Trial,
    folder: Path,
    method: str,
    makes: Mapping[str, Callable[[RealTask], Compressor]],
    say: Say,
) -> list[_Found]:
    found: list[_Found] = []
    for setting, make in makes.items():
        bank = bank_of(trial, folder / f"{method} {setting}", make)
        tuning = mean(switched_hits(trial, trial.tuning, bank))
        found.append((tuning, setting, bank))
        say(f"{method} {setting}: {stored_bytes(bank) / 2**20:.2f} MiB, {tuning:.4f}")
    return found


def _best(trial: Trial, method: str, found: Sequence[_Found]) -> Known:
    _, setting, bank = max(found, key=lambda each: each[0])
    return _known(trial, method, setting, bank)


def _known(trial: Trial, method: str, setting: str, bank: Bank) -> Known:
    hits = switched_hits(trial, trial.tests, bank)
    return Known(Row(method, setting, hits, stored_bytes(bank)), bank)


def _same(compressor: Compressor, _: RealTask) -> Compressor:
    return compressor
