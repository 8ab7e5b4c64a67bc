"""The files that are measured on: given ones, or a synthetic base and its fine-tunes."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from tools.bench._measure import Row, options, report


@dataclass(frozen=True)
class Checkpoints:
    """One base and its fine-tunes, as safetensors files."""

    name: str
    base: Path
    tuned: tuple[Path, ...]


def compare(
    about: str, rows: Callable[[Checkpoints, Path, argparse.Namespace], Iterable[Row]]
) -> None:
    """The command of a benchmark that yields ratios measured on a base and its fine-tunes.

    Args:
        about: the benchmark's docstring.
        rows: measures, given the files, a folder for what it writes, and the options.
    """
    parser = options(about)
    add_files(parser)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="leave out what takes minutes")
    arguments = parser.parse_args()
    with files(arguments) as (checkpoints, folder):
        found = [row.figures() for row in rows(checkpoints, folder, arguments)]
    report(arguments, {"rounds": arguments.rounds}, {checkpoints.name: found})


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the options that name files."""
    parser.add_argument("--base", type=Path, help="a safetensors file; by default one is made")
    parser.add_argument("--tuned", type=Path, nargs="+", help="its fine-tunes")
    parser.add_argument("--folder", type=Path, help="where to write; by default a temporary one")


@contextmanager
def files(
    arguments: argparse.Namespace, count: int = 1, moved: float = 0.1
) -> Iterator[tuple[Checkpoints, Path]]:
    """The files that options name, or synthetic ones; and a folder that goes away again."""
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        if arguments.base and arguments.tuned:
            given = Checkpoints(arguments.base.stem, arguments.base, tuple(arguments.tuned))
        else:
            given = synthetic(folder, count, moved)
        yield given, folder


def synthetic(folder: Path, count: int = 1, moved: float = 0.1) -> Checkpoints:
    """A base with a small BERT's shapes, 22.6 M float32 parameters, and fine-tunes of it.

    Steps are Gaussian; of the embedding's rows only a share moves.
    """
    random = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word": (30522, 384), "embeddings.position": (512, 384)
    }  # fmt: skip
    for layer in range(6):
        for name in ("query", "key", "value", "output"):
            shapes[f"layer.{layer}.{name}.weight"] = (384, 384)
            shapes[f"layer.{layer}.{name}.bias"] = (384,)
        shapes[f"layer.{layer}.up.weight"] = (1536, 384)
        shapes[f"layer.{layer}.down.weight"] = (384, 1536)
    base = {name: random.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}
    save_file(base, folder / "base.safetensors")
    paths = [folder / f"tuned-{number}.safetensors" for number in range(count)]
    for path in paths:
        tuned = {}
        for name, weights in base.items():
            step = random.standard_normal(weights.shape, dtype=np.float32) * np.float32(1e-3)
            if name == "embeddings.word":
                step[random.random(len(step)) >= moved] = 0
            tuned[name] = weights + step
        save_file(tuned, path)
    return Checkpoints("synthetic", folder / "base.safetensors", tuple(paths))


def eight(checkpoints: Checkpoints, folder: Path) -> list[Path]:
    """Eight fine-tunes: those there are, then further ones with their steps scaled."""
    made = list(checkpoints.tuned[:8])
    base = load_file(checkpoints.base)
    for number in range(len(made), 8):
        tuned = load_file(checkpoints.tuned[number % len(checkpoints.tuned)])
        factor = np.float32(1 - number / 16)
        changed = {
            name: base[name] + factor * (weights - base[name])
            if name in base and weights.dtype.kind == "f"
            else weights
            for name, weights in tuned.items()
        }
        path = folder / f"scaled-{number}.safetensors"
        save_file(changed, path)
        made.append(path)
    return made


def pairs_of(base: Path, tuned: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The pairs of units, base and fine-tune, that both have in the same shape."""
    old, new = load_file(base), load_file(tuned)
    return {n: (a, new[n]) for n, a in old.items() if n in new and new[n].shape == a.shape}
