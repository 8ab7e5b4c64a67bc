"""One unit and one whole task through tvbank's reader, and through zarr-python on the same bank."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import zarr

import tvbank
from tools.bench._pairs import Family
from tools.bench._rounds import Row, milliseconds


def rows(family: Family, folder: Path, rounds: int) -> Iterator[Row]:
    """Both sides start from an open bank's documents and end with arrays in memory."""
    bank = tvbank.create(folder / "bank-reading", base=family.base)
    for compressor in (tvbank.TSwitch(drop=0.9), tvbank.Exact()):
        name = compressor.describe()["name"]
        bank.add(name, family.tuned[0], compressor, replace_mismatched=True)
        yield from _rows(family, bank, name, rounds)


def _rows(family: Family, bank: tvbank.Bank, name: str, rounds: int) -> Iterator[Row]:
    task = bank[name]
    path = Path(bank.location) / f"tasks/{name}/{task.revision}/delta"
    units = sorted(bank.layout.units, key=lambda unit: unit.size)
    unit = [u for u in units if u.name in task][len(units) * 3 // 4]

    def array() -> zarr.Array:
        return zarr.open_array(path, mode="r", zarr_format=3)

    def zarr_units() -> dict[str, np.ndarray]:
        whole = array()[:]
        return {
            u.name: whole[u.offset : u.offset + u.size].reshape(u.shape) for u in bank.layout.units
        }

    times = milliseconds(
        {
            "zarr task": zarr_units,
            "dense": lambda: bank[name].to_dense(),
            "sparse": lambda: bank[name].to_sparse(),
            "zarr unit": lambda: array()[unit.offset : unit.offset + unit.size],
            "unit": lambda: bank[name][unit.name].to_dense(),
        },
        rounds,
    )
    theirs = bank[name].to_dense()
    assert all(np.array_equal(a, theirs[n]) for n, a in zarr_units().items() if n in theirs)
    target = 0.15 if name == "tswitch" else None
    what = f"{family.name}: {name}"
    against = "zarr-python, the same array"
    yield Row(
        f"{what}, whole task, positions and values", against, times["sparse"], times["zarr task"],
        target=target,
    )  # fmt: skip
    yield Row(f"{what}, whole task, dense", against, times["dense"], times["zarr task"])
    yield Row(
        f"{what}, one unit of {unit.size:,} entries, dense", against, times["unit"],
        times["zarr unit"],
    )  # fmt: skip
