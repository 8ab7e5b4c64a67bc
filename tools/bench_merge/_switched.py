"""The task known: fine-tunes, EMR-Merging, T-Switch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file

import tvbank
from tools.bench_merge._banks import State, bank_of, loader, stored_bytes, switched_scores
from tools.bench_merge._emr import Emr, emr_of
from tools.bench_merge._trial import Row, Trial, mean, scores_of
from tvbank import Bank

#: What T-Switch is chosen from.
DROPS = (0.5, 0.7, 0.8, 0.9, 0.95)
KNOBS: tuple[Literal["rms", "norm"], ...] = ("rms", "norm")

Say = Callable[[str], None]


def base_row(trial: Trial) -> Row:
    """The base under the tasks' heads."""
    model = trial.family.model()
    return Row("base", "", scores_of(trial, trial.tests, lambda _: model), 0)


def tuned_row(trial: Trial, exact: Bank) -> Row:
    """Every task's own fine-tune, read from the bank of exact tasks."""
    scores = switched_scores(trial, dict(trial.tests), exact)
    whole = sum(task.tuned.stat().st_size for task in trial.tasks.values())
    note = f"as tvbank.Exact: {stored_bytes(exact) / 2**20:.1f} MiB"
    return Row("fine-tuned", "", scores, whole, note=note)


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

    return Row("EMR-Merging", "", scores_of(trial, trial.tests, model_for), merged.stored)


def tswitch_rows(
    trial: Trial, folder: Path, allowed: int, drops: Sequence[float], say: Say
) -> Iterator[tuple[Row, Bank]]:
    """T-Switch at the setting that does best on the tuning examples: of all, and of small ones.

    Args:
        trial: the fine-tunes.
        folder: where the banks are written.
        allowed: bytes that the small one may take.
        drops: shares to drop to choose among.
        say: takes progress.
    """
    found: list[tuple[float, str, Bank]] = []
    for drop in drops:
        for knob in KNOBS:
            bank = bank_of(trial, folder / f"tswitch-{drop}-{knob}", tvbank.TSwitch(drop, knob))
            tuning = mean(switched_scores(trial, dict(trial.tuning), bank))
            found.append((tuning, f"drop={drop} knob={knob}", bank))
            say(f"T-Switch {found[-1][1]}: {stored_bytes(bank) / 2**20:.2f} MiB, {tuning:.4f}")
    small = [each for each in found if stored_bytes(each[2]) <= allowed]
    for name, some in (("T-Switch", found), ("T-Switch, small", small)):
        if some:
            _, setting, bank = max(some, key=lambda each: each[0])
            scores = switched_scores(trial, dict(trial.tests), bank)
            yield Row(name, setting, scores, stored_bytes(bank)), bank


def budget_row(trial: Trial, folder: Path, other: Bank) -> tuple[Row, Bank]:
    """Budget at the bytes of another bank of the same tasks."""
    bits = sum(task.bits_per_parameter for task in other.values()) / len(other)
    bank = bank_of(trial, folder / "budget", tvbank.Budget(f"{bits:.4f} bits/param"))
    scores = switched_scores(trial, dict(trial.tests), bank)
    return Row("Budget", f"{bits:.3f} bits/param", scores, stored_bytes(bank)), bank
