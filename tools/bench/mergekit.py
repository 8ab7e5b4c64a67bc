"""Task arithmetic, TIES and DARE out of a bank against mergekit's, entry by entry; and recipes.

    python -m tools.bench mergekit [--base FILE --tuned FILE FILE...] [--json]
    python -m tools.bench mergekit --recipes [--mergekit-python PYTHON] [--json]

Needs mergekit, one of the peers of the extra ``bench``; ``--recipes`` runs it in an environment of
its own, made for it if none is named. Recipes are for a small Llama: what mergekit writes of its
checkpoints against what ``tvbank merge`` writes of its tasks, bit by bit. Without files three small
random models are made. mergekit merges in the way it would from its command line, with three things
minded:

- TIES: it trims each tensor by itself, as ``Ties(across="unit")`` does, but keeps the whole part of
  ``density * n`` entries, of equal ones any; here that is rounded up, and equal ones are all kept.
  Where both signs weigh the same, it takes plus, and here the base stays. Such entries are counted
  apart.
- DARE: it draws from torch's generator; it is given the draws that ``Dare`` specifies, made here
  by Python's own integers.
- DARE: it rescales by what is left of the L1 norm, the paper by 1 / (1 - drop); that is switched
  off, and the weight multiplied by the latter.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import load_file, save_file

import tvbank
from tools.bench._checkpoints import add_files
from tools.bench._measure import options, report
from tools.bench._mergekit_recipes import (
    VERSION,
    compare_recipes,
    freeze_recipes,
    keeps,
    make_environment,
)
from tvbank.merging import MergeMethod, TaskArithmetic

_SHAPES = {"a": (60, 50), "b": (40,), "c": (10, 20, 5)}
_WEIGHTS, _DENSITIES, _DROPS = (0.3, 1.0), (0.1, 0.5), (0.5, 0.9)

State = dict[str, torch.Tensor]


def small_models(folder: Path) -> list[Path]:
    """A base and three fine-tunes, float32."""
    torch.manual_seed(0)
    base = {name: torch.randn(shape) for name, shape in _SHAPES.items()}
    paths = [folder / f"model-{number}.safetensors" for number in range(4)]
    save_file(base, paths[0])
    for path in paths[1:]:
        save_file({name: w + 0.01 * torch.randn(w.shape) for name, w in base.items()}, path)
    return paths


def theirs(paths: list[Path], out: Path, method: str, weight: float, **shared: Any) -> State:
    """What mergekit makes of a base and fine-tunes."""
    import mergekit.scripts.merge_raw_pytorch as raw
    from mergekit.graph import Executor
    from mergekit.options import MergeOptions

    base, *tuned = map(str, paths)
    density = {"density": shared.pop("density")} if "density" in shared else {}
    config = raw.RawPyTorchMergeConfig.model_validate(
        {
            "merge_method": method,
            "base_model": base,
            "models": [{"model": m, "parameters": {"weight": weight, **density}} for m in tuned],
            "parameters": shared,
            "dtype": "float32",
        }
    )
    tasks = raw.plan_flat_merge(config, str(out), False, False, MergeOptions(quiet=True))
    Executor(tasks, math_device="cpu", storage_device="cpu").execute()
    return load_file(next(out.glob("*.safetensors")))


@contextmanager
def drawing(paths: list[Path], seed: int, drop: float) -> Iterator[None]:
    """Give mergekit's DARE the draws of ``Dare``: a difference is known by its numbers."""
    import mergekit.sparsify

    base, masks = load_file(paths[0]), {}
    for path in paths[1:]:
        for unit, weights in load_file(path).items():
            key = (weights - base[unit]).numpy().tobytes()
            mask = keeps(weights.numel(), seed, path.stem, unit, drop)
            masks[key] = mask.reshape(weights.shape).float()
    original = mergekit.sparsify.bernoulli

    def bernoulli(tensor: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        with patch("torch.bernoulli", lambda _: masks[tensor.numpy().tobytes()]):
            found: torch.Tensor = original(tensor, *rest, **named)
            return found

    with patch("mergekit.sparsify.bernoulli", bernoulli):
        yield


def edges(paths: list[Path], density: float) -> State:
    """Where some task has just the magnitude at which it is cut, or both signs weigh the same."""
    base = load_file(paths[0])
    vectors = [{n: w - base[n] for n, w in load_file(path).items()} for path in paths[1:]]
    found: State = {}
    for name, weights in base.items():
        cut, total = torch.zeros(weights.shape, dtype=torch.bool), weights.double() * 0
        kept = cut.clone()
        for vector in vectors:
            sizes = vector[name].abs()
            ranked = sizes.flatten().sort(descending=True).values
            last = max(int(density * len(ranked)), 1)
            for either in ranked[last - 1 : last + 1]:  # as n is rounded down, or up
                cut |= sizes == either
            kept |= (sizes >= ranked[last - 1]) & (sizes > 0)
            total += vector[name] * (sizes >= ranked[last - 1])
        found[name] = cut | kept & (total == 0)
    return found


def difference(ours: State, other: State, base: State, edge: State | None) -> dict[str, Any]:
    """How far apart two merges are, and how much there is to differ in."""
    assert ours.keys() == other.keys()

    def joined(parts: State) -> torch.Tensor:
        return torch.cat([parts[name].flatten() for name in ours])

    apart = (joined(ours) - joined(other)).abs()
    cut = joined(edge) if edge else torch.zeros(len(apart), dtype=torch.bool)
    return {
        "largest difference": float(apart[~cut].max()),
        "of": float((joined(ours) - joined(base)).abs().max()),
        "entries": apart.numel(),
        "cut or tied": int(cut.sum()),
        "of these differ": int((apart[cut] > 1e-6).sum()),
    }


def main() -> None:
    parser = options(__doc__)
    add_files(parser)
    parser.add_argument("--recipes", action="store_true", help="compare recipes")
    parser.add_argument(
        "--mergekit-python", metavar="PYTHON", help="interpreter of an environment with mergekit"
    )
    parser.add_argument(
        "--freeze", type=Path, metavar="FILE", help="write what mergekit makes, for the tests"
    )
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    if arguments.recipes or arguments.freeze:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
            python = arguments.mergekit_python or make_environment(Path(temporary))
            if arguments.freeze:
                freeze_recipes(arguments.freeze, Path(temporary), python)
                return
            rows = list(compare_recipes(Path(temporary), python))
        report(arguments, {"mergekit": VERSION}, {"recipes, entry by entry": rows})
        return
    rows = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = Path(temporary)
        given = arguments.base and arguments.tuned
        paths = [arguments.base, *arguments.tuned] if given else small_models(folder)
        base = load_file(paths[0])
        bank = tvbank.create(folder / "bank", base=paths[0])
        linked = [paths[0]]
        for number, path in enumerate(paths[1:]):
            linked.append(folder / f"t{number}.safetensors")
            linked[-1].symlink_to(path.absolute())
            bank.add(f"t{number}", path, tvbank.Exact())
        for number, (label, method, weight, named) in enumerate(_cases()):
            ours = tvbank.merge(bank, dict.fromkeys(bank, weight), base=paths[0], method=method)
            out, edge = folder / f"out-{number}", None
            if isinstance(method, tvbank.Dare):
                with drawing(linked, method.seed, method.drop):
                    other = theirs(linked, out, weight=weight / (1 - method.drop), **named)
            elif isinstance(method, tvbank.Ties):  # of equal weights, whatever they are, the mean
                other = theirs(linked, out, weight=1.0, **named, **{"lambda": weight})
                edge = edges(linked, method.density)
            else:
                other = theirs(linked, out, weight=weight, **named)
            found = difference(ours, other, base, edge)
            rows.append({"method": label, "weight": weight, **found})
    report(arguments, {}, {"entry by entry, against mergekit's": rows})


def _cases() -> Iterator[tuple[str, MergeMethod, float, dict[str, Any]]]:
    for weight in _WEIGHTS:
        linear = {"method": "task_arithmetic", "normalize": False}
        yield "task arithmetic", TaskArithmetic(), weight, linear
        for density in _DENSITIES:
            ties = {"method": "ties", "density": density, "normalize": True}
            yield f"TIES {density}", tvbank.Ties(density, across="unit"), weight, ties
        for drop in _DROPS:
            dare = {"method": "dare_linear", "density": 1 - drop, "rescale": False}
            dare["normalize"] = False
            yield f"DARE {drop}", tvbank.Dare(drop, seed=0), weight, dare


if __name__ == "__main__":
    main()
