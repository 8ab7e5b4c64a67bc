"""What writers and readers do in processes of their own, for tests and tools."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import numpy as np

import tvbank
from tvbank.storage import MemoryStorage

#: Small, so that meeting at the catalog is what takes time.
BASE = {"w": np.zeros(64, np.float32), "b": np.zeros(3, np.float16)}


def tuned(writer: int, number: int) -> dict[str, np.ndarray]:
    """A fine-tune that no other writer has."""
    return {"w": np.full(64, 1 + writer, np.float32), "b": np.full(3, number, np.float16)}


def write(place: str, writer: int, tasks: int) -> None:
    """Add so many tasks, one by one."""
    bank = tvbank.open(place)
    for number in range(tasks):
        bank.add(f"w{writer}-{number}", tuned(writer, number), tvbank.Exact(), base=BASE)


def read(place: str, stop: str) -> None:
    """Open the bank until told to stop; every generation must be whole, and none go back."""
    generation, known = -1, 0
    while not Path(stop).exists():
        bank = tvbank.open(place)
        assert bank.generation >= generation
        assert len(bank) == bank.generation >= known
        generation, known = bank.generation, len(bank)
        for name in list(bank)[-3:]:
            writer, number = (int(part) for part in name[1:].split("-"))
            expected = numbers_of(writer, number)
            found = {unit: bank[name][unit].to_dense() for unit in bank[name]}
            assert {unit: array.tobytes() for unit, array in found.items()} == expected
        time.sleep(0.02)


def numbers_of(writer: int, number: int) -> dict[str, bytes]:
    """What a sound task of a writer holds, computed apart from any shared bank."""
    own = tvbank.create(MemoryStorage(), base=BASE)
    task = own.add("t", tuned(writer, number), tvbank.Exact())
    return {name: unit.to_dense().tobytes() for name, unit in task.items()}


def collect(place: str, stop: str) -> None:
    """Collect garbage until told to stop, with the shortest grace period that is allowed here."""
    while not Path(stop).exists():
        tvbank.open(place).gc(grace=60)
        time.sleep(0.1)


def together(place: str, stop: Path, writers: int, tasks: int, readers: int = 2) -> float:
    """Writers, readers and a collector at once, in spawned processes; the seconds it took.

    Raises:
        AssertionError: one of them ended badly.
    """
    spawn = multiprocessing.get_context("spawn")
    tvbank.create(place, base=BASE)
    jobs = [read] * readers + [collect]
    others = [spawn.Process(target=job, args=(place, str(stop))) for job in jobs]
    own = [spawn.Process(target=write, args=(place, n, tasks)) for n in range(writers)]
    start = time.monotonic()
    for process in (*others, *own):
        process.start()
    for process in own:
        process.join()
    seconds = time.monotonic() - start
    stop.touch()
    for process in others:
        process.join()
    ends = [process.exitcode for process in (*own, *others)]
    assert not any(ends), ends
    check(place, writers, tasks)
    return seconds


def check(place: str, writers: int, tasks: int) -> None:
    """None lost, none torn."""
    bank = tvbank.open(place)
    expected = {f"w{writer}-{number}" for writer in range(writers) for number in range(tasks)}
    assert set(bank) == expected, sorted(expected ^ set(bank))
    assert bank.generation == writers * tasks
    assert bank.verify() == []
    assert bank.gc().objects == 0
