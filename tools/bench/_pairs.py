"""The checkpoints that are measured on: given ones, or a synthetic pair."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file


@dataclass(frozen=True)
class Family:
    """One base and its fine-tunes, as safetensors files."""

    name: str
    base: Path
    tuned: tuple[Path, ...]


def synthetic(folder: Path) -> Family:
    """A small BERT's shapes; Gaussian steps, in a tenth of the embedding's rows only."""
    random = np.random.default_rng(0)
    shapes = {"embeddings.word": (30522, 384), "embeddings.position": (512, 384)}
    for layer in range(6):
        for name in ("query", "key", "value", "output"):
            shapes[f"layer.{layer}.{name}.weight"] = (384, 384)
            shapes[f"layer.{layer}.{name}.bias"] = (384,)
        shapes[f"layer.{layer}.up.weight"] = (1536, 384)
        shapes[f"layer.{layer}.down.weight"] = (384, 1536)
    base = {name: random.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}
    tuned = {}
    for name, weights in base.items():
        step = random.standard_normal(weights.shape, dtype=np.float32) * np.float32(1e-3)
        if name == "embeddings.word":
            step[random.random(len(step)) < 0.9] = 0
        tuned[name] = weights + step
    save_file(base, folder / "base.safetensors")
    save_file(tuned, folder / "tuned.safetensors")
    return Family("synthetic", folder / "base.safetensors", (folder / "tuned.safetensors",))


def eight(family: Family, folder: Path) -> list[Path]:
    """Eight fine-tunes: the family's own, then further ones with their steps scaled."""
    made = list(family.tuned[:8])
    base = load_file(family.base)
    for number in range(len(made), 8):
        tuned = load_file(family.tuned[number % len(family.tuned)])
        factor = np.float32(1 - number / 16)
        changed = {
            name: base[name] + factor * (weights - base[name])
            if name in base and weights.dtype.kind == "f"
            else weights
            for name, weights in tuned.items()
        }
        path = folder / f"tuned-{number}.safetensors"
        save_file(changed, path)
        made.append(path)
    return made


def deltas(base: Path, tuned: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The pairs of units, base and fine-tune, that both have in the same shape."""
    old, new = load_file(base), load_file(tuned)
    return {n: (a, new[n]) for n, a in old.items() if n in new and new[n].shape == a.shape}
