"""A live model on its way through versions, beside adding dense differences and loading files."""

from __future__ import annotations

import hashlib
import os
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
#: How a follower is compared with loading: its job, the other's, what the other is, the target.
_LOADS = (
    ("follow", "load", f"{_LOAD}, in the page cache", 0.3),
    ("follow", "load verified", f"{_LOAD} and the file's SHA-256, in the page cache", None),
    ("follow cold", "load cold", f"{_LOAD}; neither file in the page cache", None),
)


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
            times = _times(bank, Path(folder) / "bank", base, before, after, rounds)
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
        ]  # fmt: skip
        rows += [
            Row.timed(
                f"a follower one step behind: {shares[1]}", times[ours], what, times[theirs], most
            )
            for ours, theirs, what, most in _LOADS
        ]
    return rows


def _forget(*paths: Path) -> None:
    """Take files out of the page cache."""
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _verified(path: Path) -> None:
    with path.open("rb") as file:
        hashlib.file_digest(file, "sha256")


def _times(
    bank: tvbank.Bank, folder: Path, base: Path, before: Path, after: Path, rounds: int
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

    def load() -> None:
        other.load_state_dict(load_file(after), strict=False)

    jobs: dict[str, Job] = {
        "dense": adding(start, middle),
        "to": lambda: held.to("step-1"),
        "dense step": adding(middle, end),
        "step": lambda: held.to("step-2"),
        "off": held.off,
        "load": load,
        "load verified": lambda: (_verified(after), load()),
        "before": lambda: follower.to("step-1"),
        "follow": lambda: follower.to("step-2"),
        "before again": lambda: follower.to("step-1"),
        "forget": lambda: _forget(after, *(path for path in folder.rglob("*") if path.is_file())),
        "load cold": load,
        "follow cold": lambda: follower.to("step-2"),
    }
    return in_turns(jobs, rounds)
