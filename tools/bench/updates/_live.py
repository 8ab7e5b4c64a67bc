"""A live model on its way through versions, beside adding dense differences and loading files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file

import tvbank
from tools.bench._measure import Job, Row, in_turns
from tools.bench.switching import module_of
from tools.bench.updates._way import THREADS

#: Bytes of tasks in memory: all that there are.
_ALL = 2**40
_DENSE, _LOAD = "add the dense difference in RAM", "load_state_dict(load_file(path))"


def live(base: Path, before: Path, after: Path, rounds: int) -> list[Row]:
    """Rows of a chain of two exact tasks, by frames that stand alone and given the base.

    Args:
        base: the base.
        before: the first version.
        after: the second one, stored as steps from the first.
        rounds: of turns.
    """
    torch.set_num_threads(min(THREADS, torch.get_num_threads()))
    rows = []
    for how, alone, most in (("alone", True, (2.5, None)), ("given the base", False, (5.0, 3.0))):
        with tempfile.TemporaryDirectory(prefix="tvbank-live-") as folder:
            bank = tvbank.create(Path(folder) / "bank", base)
            exact = tvbank.Exact(standalone=alone)
            first = bank.add("step-1", before, exact)
            second = bank.add("step-2", after, exact, parent="step-1")
            times = _times(bank, base, before, after, rounds)
        size = sum(unit.size for unit in bank.layout.units)
        shares = [f"{task.nonzeros / size:.1%} changed, {how}" for task in (first, second)]
        rows += [
            Row.timed(
                f"base -> version, resident: {shares[0]}", times["to"], _DENSE, times["dense"],
                most[0],
            ),
            Row.timed(
                f"one step on, resident: {shares[1]}", times["step"], _DENSE,
                times["dense step"], most[1],
            ),
            Row.timed(
                f"a follower one step behind: {shares[1]}", times["follow"], _LOAD, times["load"],
                0.3,
            ),
        ]  # fmt: skip
    return rows


def _times(
    bank: tvbank.Bank, base: Path, before: Path, after: Path, rounds: int
) -> dict[str, list[float]]:
    start, middle, end = (load_file(path) for path in (base, before, after))
    held = tvbank.attach(module_of(start), bank, resident_bytes=_ALL)
    follower = tvbank.attach(module_of(start), bank, resident_bytes=0)
    other = module_of(start)
    parameters = dict(other.named_parameters())

    def adding(old: dict[str, torch.Tensor], new: dict[str, torch.Tensor]) -> Job:
        pairs = [(parameter, new[name] - old[name]) for name, parameter in parameters.items()]

        @torch.no_grad()
        def add() -> None:
            for parameter, difference in pairs:
                parameter.add_(difference)

        return add

    jobs: dict[str, Job] = {
        "dense": adding(start, middle),
        "to": lambda: held.to("step-1"),
        "dense step": adding(middle, end),
        "step": lambda: held.to("step-2"),
        "off": held.off,
        "load": lambda: other.load_state_dict(load_file(after), strict=False),
        "before": lambda: follower.to("step-1"),
        "follow": lambda: follower.to("step-2"),
    }
    return in_turns(jobs, rounds)
