"""Reading a folder of real fine-tunes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from tools.bench.realtasks._family import Family, RealTask
from tools.bench.realtasks._minilm import MiniLM
from tools.bench.realtasks._vit import ViT

#: Families by name.
FAMILIES: dict[str, type[Family]] = {"minilm": MiniLM, "vit": ViT}


def load(folder: str | os.PathLike[str], family: str, *, tuned: bool = True) -> Family:
    """Read the data and heads of a family's tasks; weights stay in their files.

    Args:
        folder: the folder; see the package's description for its layout.
        family: ``"minilm"`` or ``"vit"``.
        tuned: leave out tasks whose fine-tune is not there (yet).

    Returns:
        The family with its tasks, by name in alphabetical order.

    Raises:
        FileNotFoundError: the folder holds no base of that family.
        ValueError: no such family.
    """
    if family not in FAMILIES:
        raise ValueError(f"no family {family!r}: choose from {', '.join(FAMILIES)}")
    root = Path(folder) / family
    base = root / "base.safetensors"
    if not base.is_file():
        raise FileNotFoundError(
            f"{base} is missing: python -m tools.bench realtasks build --out {folder}"
        )
    tasks = {path.parent.name: _task(path.parent) for path in sorted(root.glob("*/data.npz"))}
    there = {name: task for name, task in tasks.items() if not tuned or task.tuned.is_file()}
    return FAMILIES[family](base, there)


def _task(folder: Path) -> RealTask:
    head = load_file(folder / "head.safetensors")
    with np.load(folder / "data.npz", allow_pickle=False) as data:
        return RealTask(
            folder.name,
            folder / "tuned.safetensors",
            data["x_train"],
            data["y_train"],
            data["x_test"],
            data["y_test"],
            head["weight"],
            head["bias"],
        )
