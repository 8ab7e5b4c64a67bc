"""What the tests of building share: checkpoints as files, manifests of them, and the bank that
``add`` makes of the same."""

from __future__ import annotations

import json
import pickle
from collections import deque
from pathlib import Path
from typing import Any

import banks
from safetensors.numpy import save_file

import tvbank
from tvbank.bank.snapshot import read_root
from tvbank.building._jobs import Job, run_job
from tvbank.building._workers import Outcome, Workers
from tvbank.compress import compressor_named

#: Manifests' words for the compressors that these tests use.
EXACT = {"method": "exact"}
HALF = {"method": "tswitch", "drop": 0.5}


def save(path: Path, tensors: dict[str, Any]) -> Path:
    """Write a checkpoint; tied tensors become two, since a safetensors file ties none."""
    save_file({name: array.copy() for name, array in tensors.items()}, path)
    return path


def write_checkpoints(folder: Path, tasks: int) -> None:
    """``base.safetensors``, and ``t0.safetensors`` and so on; the second has a head of its own."""
    save(folder / "base.safetensors", banks.base_model())
    for number in range(tasks):
        tuned = banks.fine_tune(number)
        if number == 1:
            tuned["new head"] = banks.ODD.reshape(2, 2)
        save(folder / f"t{number}.safetensors", tuned)


def write(folder: Path, tasks: dict[str, dict[str, Any]], **more: Any) -> Path:
    """A manifest; a bank in the folder, of its base."""
    content = {"bank": "bank", "base": "base.safetensors", "chunk_length": 8, "tasks": tasks}
    path = folder / "manifest.json"
    path.write_text(json.dumps(content | more))
    return path


def added(
    folder: Path,
    tasks: dict[str, dict[str, Any]],
    place: Path,
    chunk_length: int = 8,
    anchor_every: int | None = None,
) -> tvbank.Bank:
    """The bank that ``add`` makes of a manifest's tasks, in their order; checkpoints are files."""
    bank = tvbank.create(place, folder / "base.safetensors", chunk_length=chunk_length)
    for name, task in tasks.items():
        bank.add(
            name,
            folder / task["checkpoint"],
            compressor_named(
                task.get("method", "exact"), drop=task.get("drop"), budget=task.get("budget")
            ),
            task.get("metadata"),
            replace_mismatched=task.get("replace_mismatched", False),
            parent=task.get("parent"),
            anchor_every=anchor_every if "parent" in task else None,
        )
    return bank


def assert_same(place: Any, other: tvbank.Bank) -> None:
    """Two banks have the same tasks: every byte of every object, and what the catalog says."""
    bank = tvbank.open(place)
    assert bank.verify() == []
    mine, theirs = read_root(bank.storage)[0], read_root(other.storage)[0]
    assert mine.tasks == theirs.tasks
    assert mine.layout == theirs.layout
    objects = [
        {key: data for key, data in banks.contents(each.storage).items() if key.count("/") > 2}
        for each in (bank, other)
    ]
    assert objects[0] == objects[1]


class Here(Workers):
    """Does jobs in this process, the newest first: quicker than processes where others test those.

    A job and its outcome are pickled, as they are on their way to a worker and back.
    """

    slots = 2

    def __init__(self) -> None:
        self._jobs: deque[tuple[int, bytes]] = deque()

    def submit(self, ticket: int, job: Job) -> None:
        """See ``Workers.submit``."""
        self._jobs.append((ticket, pickle.dumps(job)))

    def wait(self) -> tuple[int, Outcome]:
        """See ``Workers.wait``."""
        ticket, job = self._jobs.pop()
        return ticket, pickle.loads(pickle.dumps(run_job(pickle.loads(job), 1, tvbank.__version__)))

    def close(self) -> None:
        """See ``Workers.close``."""
