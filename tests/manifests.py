"""What the tests of building share: checkpoints as files, manifests of them, and the bank that
``add`` makes of the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import banks
from safetensors.numpy import save_file

import tvbank
from tvbank.bank.snapshot import read_root
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
    folder: Path, tasks: dict[str, dict[str, Any]], place: Path, chunk_length: int = 8
) -> tvbank.Bank:
    """The bank that ``add`` makes of a manifest's tasks, whose checkpoints are files."""
    bank = tvbank.create(place, folder / "base.safetensors", chunk_length=chunk_length)
    for name, task in tasks.items():
        bank.add(
            name,
            folder / task["checkpoint"],
            compressor_named(task["method"], drop=task.get("drop"), budget=task.get("budget")),
            task.get("metadata"),
            replace_mismatched=task.get("replace_mismatched", False),
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
