"""Which settings of which methods are measured; FlexSwitch as it is run here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, final

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from tools.bench.compress._baselines import (
    ALPHAS,
    FACTORS,
    BitDelta,
    ComPEFT,
    FittedTSwitch,
    Quantised,
    UltraDelta,
)
from tools.bench.realtasks import Family, Inputs, RealTask
from tvbank import Budget, Compressor, FlexSwitch, TSwitch

_EXAMPLES: Final = 100


@final
@dataclass(frozen=True)
class Learning:
    """What is asked of FlexSwitch.

    Attributes:
        steps: of each run.
        losses: names of those to learn by.
        device: where models run: ``"cpu"`` or ``"cuda"``.
    """

    steps: int
    losses: Sequence[str]
    device: str


def learner(
    family: Family,
    task: RealTask,
    seed: int,
    _scale: float,
    *,
    loss: str,
    lam: float,
    learning: Learning,
    objective: Literal["paper", "bytes"] = "paper",
    budget: str | None = None,
    ablation: Literal["lgs", "bas"] | None = None,
) -> FlexSwitch:
    """FlexSwitch for a task.

    The model's matrices are multiplied in bfloat16 while it learns, and attention is written out,
    as its fused backward pass is slow for short inputs: together a third of the time on a
    processor that has bfloat16. What is stored is scored in float32.

    Args:
        family: of the task.
        task: whose training examples are used.
        seed: of the order of the examples.
        loss: ``"kl"``, ``"mse"`` or ``"cka"``.
        lam: weight of the loss; without meaning under a budget.
        learning: what holds for all runs.
        objective: what is charged for.
        budget: the size to end at, by the objective of bytes.
        ablation: what is learned alone, under the paper's objective.
    """

    weight, bias = task.head_weight.to(learning.device), task.head_bias.to(learning.device)

    def logits(model: torch.nn.Module, inputs: Inputs) -> torch.Tensor:
        with torch.autocast(learning.device, torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            features = family.pooled(model, inputs)
        return features.float() @ weight.T + bias

    inputs = family.inputs(task.x_train[:_EXAMPLES])
    model = family.model().to(learning.device)
    return FlexSwitch(
        model, inputs, logits, loss=loss, lam=lam, steps=learning.steps, seed=seed,
        objective=objective, budget=budget, ablation=ablation,
    )  # fmt: skip


TARGETS: Final = ("0.15 %", "0.25 %", "0.35 %", "0.5 %", "0.8 %", "1 %", "2 %")
DROPS: Final = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
#: [F]'s grids of lambda.
LAMBDAS: Final = {
    "kl": (0.1, 0.3, 0.5, 0.7, 0.9),
    "mse": (0.01, 0.05, 0.09, 0.13, 0.17),
    "cka": (1, 3, 5, 7, 9),
}


@final
@dataclass(frozen=True)
class Setting:
    """One setting of a method.

    Attributes:
        method: its name in tables.
        label: of the setting.
        make: the compressor for a task of a family, with a seed and a scale.
        scales: from which training data choose; a compressor is made for 1, and its entries
            multiplied, until one is chosen.
        seeded: whether seeds matter.
    """

    method: str
    label: str
    make: Callable[[Family, RealTask, int, float], Compressor]
    scales: tuple[float, ...] = (1.0,)
    seeded: bool = False


def settings(methods: Sequence[str], learning: Learning) -> Iterator[Setting]:
    """All settings of some methods of ``METHODS``."""
    for method in methods:
        yield from METHODS[method](learning)


def _plain(method: str, label: str, compressor: Compressor) -> Setting:
    return Setting(method, label, lambda *_: compressor)


def _tswitch(_: Learning) -> Iterator[Setting]:
    for knob in ("rms", "norm"):
        for drop in DROPS:
            yield _plain(f"T-Switch, {knob}", f"drop {drop}", TSwitch(drop, knob))


def _fitted(_: Learning) -> Iterator[Setting]:
    for knob in ("rms", "norm"):
        for target in TARGETS:
            yield _plain(f"T-Switch to size, {knob}", target, FittedTSwitch(target, knob))


def _budget(_: Learning) -> Iterator[Setting]:
    for target in TARGETS:
        yield _plain("Budget", target, Budget(target))


def _bitdelta(_: Learning) -> Iterator[Setting]:
    for scale in ("mean", "rms"):
        yield _plain("BitDelta", f"scale {scale}", BitDelta(scale))


def _compeft(_: Learning) -> Iterator[Setting]:
    def make(keep: float) -> Callable[[Family, RealTask, int, float], Compressor]:
        return lambda _family, _task, _seed, alpha: ComPEFT(keep, alpha)

    for keep in (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5):
        yield Setting("ComPEFT", f"k {keep:.0%}", make(keep), ALPHAS)


def _tvq(_: Learning) -> Iterator[Setting]:
    for bits in (2, 3, 4):
        yield _plain("TVQ", f"{bits} bits", Quantised(bits))


def _ultradelta(_: Learning) -> Iterator[Setting]:
    def make(rate: float) -> Callable[[Family, RealTask, int, float], Compressor]:
        return lambda _family, _task, seed, factor: UltraDelta(rate, factor, seed=seed)

    for rate in (0.9, 0.95, 0.97, 0.98, 0.99):
        yield Setting("UltraDelta", f"rate {rate}", make(rate), FACTORS, seeded=True)


def _flexswitch(learning: Learning) -> Iterator[Setting]:
    for loss in learning.losses:
        for lam in LAMBDAS[loss]:
            make = partial(learner, loss=loss, lam=lam, learning=learning)
            yield Setting(f"FlexSwitch, {loss}", f"λ {lam}", make, seeded=True)


def _by_bytes(learning: Learning) -> Iterator[Setting]:
    for loss in learning.losses:
        for lam in LAMBDAS[loss]:
            make = partial(learner, loss=loss, lam=lam, learning=learning, objective="bytes")
            yield Setting(f"FlexSwitch by bytes, {loss}", f"λ {lam}", make, seeded=True)


def _sized(learning: Learning) -> Iterator[Setting]:
    for loss in learning.losses:
        for target in TARGETS:
            make = partial(learner, loss=loss, lam=1.0, learning=learning, budget=target)
            yield Setting(f"FlexSwitch to size, {loss}", target, make, seeded=True)


#: By the names that the command takes.
METHODS: Final[dict[str, Callable[[Learning], Iterator[Setting]]]] = {
    "tswitch": _tswitch,
    "fitted": _fitted,
    "budget": _budget,
    "bitdelta": _bitdelta,
    "compeft": _compeft,
    "tvq": _tvq,
    "ultradelta": _ultradelta,
    "flexswitch": _flexswitch,
    "flexswitch-bytes": _by_bytes,
    "flexswitch-sized": _sized,
}
