"""The settings that the paper gives, and ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import tvbank
from tools.bench.compress._methods import Learning, learner
from tools.bench.realtasks import Family, RealTask
from tvbank import Compressor, FlexSwitch

#: T-Switch's drop that [F] found best: RoBERTa's for text, ViT-B/32's for images.
DROP: Final = {"minilm": 0.5, "vit": 0.7}

#: FlexSwitch: λ of the KL loss in the middle of [F]'s grid, and Eq. 14's run of 500 steps of 32.
LAM: Final = 0.5

#: Routers: Eq. 5 asks ten neighbours among 100 examples a task, Eq. 19 twenty centres a task.
NEIGHBOURS: Final = 10
CENTRES: Final = 20

#: What a task may take by our way: of the base in float32.
SIZE: Final = {"minilm": "0.35 %", "vit": "0.8 %"}


@final
@dataclass(frozen=True)
class Run:
    """One run of every method.

    Attributes:
        family: of the tasks.
        steps: of FlexSwitch.
        seed: of the examples' order, of the draws and of the routers' examples.
        size: that our ways end at.
    """

    family: Family
    steps: int
    seed: int
    size: str


#: A task of a run -> its compressor.
Make = Callable[[Run, RealTask], Compressor]


def _tswitch(run: Run, _: RealTask) -> Compressor:
    return tvbank.TSwitch(DROP[run.family.name], "rms")


def _budget(run: Run, _: RealTask) -> Compressor:
    return tvbank.Budget(run.size)


def _learner(run: Run, task: RealTask, **settings: Any) -> FlexSwitch:
    learning = Learning(run.steps, ("kl",), "cpu")
    given = {"loss": "kl", "lam": LAM, **settings}
    return learner(run.family, task, run.seed, 1.0, learning=learning, **given)


def _flexswitch(run: Run, task: RealTask) -> Compressor:
    return _learner(run, task)


def _gates(run: Run, task: RealTask) -> Compressor:
    return _learner(run, task, ablation="lgs")


def _widths(run: Run, task: RealTask) -> Compressor:
    return _learner(run, task, ablation="bas")


def _sized(run: Run, task: RealTask) -> Compressor:
    return _learner(run, task, budget=run.size)


@final
@dataclass(frozen=True)
class Vectors:
    """A way to compress every task.

    Attributes:
        method: its name in the table.
        make: the compressor of a task.
        learned: whether it is FlexSwitch, which takes minutes, depends on the seed, and can resume.
        sized: whether it ends at the size that is asked for.
    """

    method: str
    make: Make
    learned: bool = False
    sized: bool = False

    def label(self, run: Run) -> str:
        """What tells its banks apart."""
        told = [self.method, *([run.size] if self.sized else [])]
        if self.learned:
            told += [f"{run.steps} steps", f"seed {run.seed}"]
        return ", ".join(told)


#: By name: the paper's, its ablation, ours.
VECTORS: Final[Mapping[str, Vectors]] = {
    "exact": Vectors("fine-tuned", lambda *_: tvbank.Exact()),
    "tswitch": Vectors("T-Switch", _tswitch),
    "flexswitch": Vectors("FlexSwitch, Eq. 14", _flexswitch, learned=True),
    "lgs": Vectors("LGS alone", _gates, learned=True),
    "bas": Vectors("BAS alone", _widths, learned=True),
    "budget": Vectors("Budget", _budget, sized=True),
    "sized": Vectors("FlexSwitch to a size", _sized, learned=True, sized=True),
}
