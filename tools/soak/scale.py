"""What a bank of many tasks costs: to open, to list, to add the next one, to read one.

    python -m tools.soak scale [--tasks 100 1000 10000] [--json]

Tiny tasks (one unit of 1,000 entries), written into a folder by copying the objects of one of them
under other names; catalogs as a writer makes them. Each figure is the best of three, each in a
fresh reader; requests and bytes are those that the store is asked for. Exponents say how a figure
grows from the smallest bank to the largest: 0 not at all, 1 in proportion.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import tvbank
from tools import borrow_tests
from tools.bench._measure import options, report, timed
from tvbank.bank.documents import encode_root
from tvbank.bank.snapshot import read_root
from tvbank.storage import LocalStorage, Storage

borrow_tests()
import banks  # noqa: E402

BASE = {"w": np.linspace(-1, 1, 1000, dtype=np.float32)}
REPEATS = 3
_VERB = "from tvbank.cli import main; main()"


def task_name(number: int) -> str:
    return f"task-{number:08d}"


def build(folder: Path, tasks: int) -> None:
    """A bank of equal tasks: their revision is the same, since it does not hold the name."""
    bank = tvbank.create(folder, BASE)
    dice = np.random.default_rng(0)
    tuned = {"w": BASE["w"] + dice.standard_normal(1000).astype(np.float32)}
    bank.add(task_name(0), tuned, tvbank.TSwitch(drop=0.9))
    catalog, _ = read_root(bank.storage)
    entry = catalog.tasks[task_name(0)]
    source = folder / "tasks" / task_name(0)
    objects = [(path.relative_to(source), path.read_bytes()) for path in _files(source)]
    for number in range(1, tasks):
        place = folder / "tasks" / task_name(number)
        for path, data in objects:
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_bytes(data)
    full = msgspec.structs.replace(
        catalog, tasks={task_name(number): entry for number in range(tasks)}, generation=tasks
    )
    (folder / "zarr.json").write_bytes(encode_root(full))


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


class Counted(banks.CountingStorage):  # type: ignore[misc]
    """Counts the bytes of what is written, too."""

    written = 0

    def put(self, key: str, data: bytes) -> None:
        self.written += len(data)
        super().put(key, data)

    def put_if_unchanged(self, key: str, data: bytes, tag: str | None) -> None:
        self.written += len(data)
        super().put_if_unchanged(key, data, tag)


def measured(storage: Storage, act: Callable[[Storage], Any]) -> dict[str, float]:
    """Seconds, requests and bytes of an act."""
    best = math.inf
    for _ in range(REPEATS):
        counting = Counted(storage)
        best = min(best, timed(lambda counting=counting: act(counting))[0])
    return {
        "milliseconds": 1000 * best,
        "requests": sum(counting.calls.values()),
        "bytes read": counting.bytes,
        "bytes written": counting.written,
    }


def examine(folder: Path, tasks: int) -> dict[str, dict[str, float]]:
    """All figures of a bank."""
    build(folder, tasks)
    storage = LocalStorage(folder)
    some = task_name(tasks // 2)
    opened = tvbank.open(storage)
    number = 0

    def add(store: Storage) -> None:
        nonlocal number
        number += 1
        bank = tvbank.open(store)
        tuned = {"w": BASE["w"] + np.float32(number)}
        bank.add(f"new-{number}", tuned, tvbank.TSwitch(drop=0.9), base=BASE)

    tracemalloc.start()
    tvbank.open(storage)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    listing = [sys.executable, "-c", _VERB, "ls", str(folder)]
    listed, _ = timed(lambda: subprocess.run(listing, check=True, capture_output=True))
    return {
        "open": measured(storage, tvbank.open) | {"megabytes of memory": peak / 1e6},
        "list the names": measured(storage, lambda store: list(opened)),
        "tvbank ls": {"milliseconds": 1000 * listed},
        "open and read a unit of one": measured(
            storage, lambda store: tvbank.open(store)[some]["w"].to_dense()
        ),
        "read a unit of one": measured(storage, lambda store: opened[some]["w"].to_dense()),
        "open and add the next": measured(storage, add),
    }


def growth(smallest: float, largest: float, factor: float) -> str:
    """The exponent of a power law through two points."""
    if smallest <= 0 or largest <= 0 or factor == 1:
        return "-"
    return f"{math.log(largest / smallest) / math.log(factor):.2f}"


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--tasks", type=int, nargs="+", default=[100, 1000, 10_000])
    arguments = parser.parse_args()
    found: dict[int, dict[str, dict[str, float]]] = {}
    for tasks in sorted(arguments.tasks):
        with tempfile.TemporaryDirectory() as temporary:
            found[tasks] = examine(Path(temporary, "bank"), tasks)
    sizes, rows = list(found), []
    for what, figures in found[sizes[0]].items():
        for unit in figures:
            values = {tasks: found[tasks][what][unit] for tasks in sizes}
            if any(values.values()):
                exponent = growth(values[sizes[0]], values[sizes[-1]], sizes[-1] / sizes[0])
                named = {f"{tasks:,} tasks": value for tasks, value in values.items()}
                rows.append({"what": what, "unit": unit, **named, "exponent": exponent})
    report(arguments, {}, {"as tasks grow": rows})


if __name__ == "__main__":
    main()
