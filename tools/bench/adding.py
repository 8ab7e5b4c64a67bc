"""``add``, ``export`` and ``verify`` against reading both files once and subtracting.

    python -m tools.bench adding [--base FILE --tuned FILE] [--json]

Everything from and to the disk: what tvbank writes, it writes durably (fsync).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

from safetensors.numpy import load_file

import tvbank
from tools.bench._checkpoints import Checkpoints, compare
from tools.bench._measure import Row, in_turns

REFERENCE = "reading both files and subtracting"


def rows(given: Checkpoints, folder: Path, arguments: argparse.Namespace) -> Iterator[Row]:
    base, tuned = given.base, given.tuned[0]
    bank = tvbank.create(folder / "bank", base=base)

    def read_and_subtract() -> None:
        first, second = load_file(base), load_file(tuned)
        for name in first.keys() & second.keys():
            if first[name].shape == second[name].shape:
                second[name] - first[name]

    def adding(compressor: tvbank.Compressor) -> Callable[[], object]:
        name = compressor.describe()["name"]
        return lambda: bank.add(name, tuned, compressor, replace=True, replace_mismatched=True)

    def exporting(name: str) -> Callable[[], object]:
        return lambda: tvbank.export(bank, name, base=base, out=folder / "exported.safetensors")

    jobs = {
        REFERENCE: read_and_subtract,
        "add, T-Switch drop 0.9": adding(tvbank.TSwitch(drop=0.9)),
        "add, Exact": adding(tvbank.Exact()),
        "export, T-Switch": exporting("tswitch"),
        "export, Exact": exporting("exact"),
        "verify, both tasks": bank.verify,
    }
    times = in_turns(jobs, arguments.rounds)
    reference = times.pop(REFERENCE)
    for name, seconds in times.items():
        target = 4.0 if name.startswith("add, T-Switch") else None
        yield Row.timed(name, seconds, REFERENCE, reference, target)


if __name__ == "__main__":
    compare(__doc__, rows)
