"""One unit and one whole task through tvbank's reader, and through zarr-python on the same bank.

    python -m tools.bench reading [--base FILE --tuned FILE] [--json]

Both sides start from an open bank's documents and end with arrays in memory.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import zarr

import tvbank
from tools.bench._checkpoints import Checkpoints, compare
from tools.bench._measure import Row, in_turns


def rows(given: Checkpoints, folder: Path, arguments: argparse.Namespace) -> Iterator[Row]:
    bank = tvbank.create(folder / "bank", base=given.base)
    for compressor in (tvbank.TSwitch(drop=0.9), tvbank.Exact(standalone=True)):
        name = compressor.describe()["name"]
        bank.add(name, given.tuned[0], compressor, replace_mismatched=True)
        yield from _rows(bank, name, arguments.rounds)


def _rows(bank: tvbank.Bank, name: str, rounds: int) -> Iterator[Row]:
    task = bank[name]
    path = Path(bank.location) / f"tasks/{name}/{task.revision}/delta"
    units = sorted(bank.layout.units, key=lambda unit: unit.size)
    unit = [u for u in units if u.name in task][len(units) * 3 // 4]

    def array() -> zarr.Array:
        return zarr.open_array(path, mode="r", zarr_format=3)

    def zarr_units() -> dict[str, np.ndarray]:
        entries = array()[:]
        return {u.name: entries[u.offset : u.offset + u.size].reshape(u.shape) for u in units}

    times = in_turns(
        {
            "zarr task": zarr_units,
            "dense": lambda: bank[name].to_dense(),
            "sparse": lambda: bank[name].to_sparse(),
            "zarr unit": lambda: array()[unit.offset : unit.offset + unit.size],
            "unit": lambda: bank[name][unit.name].to_dense(),
        },
        rounds,
    )
    ours = bank[name].to_dense()
    assert all(np.array_equal(a, ours[n]) for n, a in zarr_units().items() if n in ours)
    against = "zarr-python, the same array"
    whole, target = times["zarr task"], 0.15 if name == "tswitch" else None
    what = f"{name}, whole task, positions and values"
    yield Row.timed(what, times["sparse"], against, whole, target)
    yield Row.timed(f"{name}, whole task, dense", times["dense"], against, whole)
    what = f"{name}, one unit of {unit.size:,} entries, dense"
    yield Row.timed(what, times["unit"], against, times["zarr unit"])


if __name__ == "__main__":
    compare(__doc__, rows)
