"""Banks as this version writes them, with what they must decode to: for tests/compat.

    python -m tools.vectors.frozen tests/compat/FOLDER

Run once for each version of the format or of the package that is worth keeping. What is there is
never written over; the tests only read. A manifest, ``expected.json``, says which version wrote the
banks, and the SHA-256, shape and type of everything that a reader must get out of them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

import tvbank
from tvbank.coding import MASK_ENCODINGS, VALUE_ENCODINGS
from tvbank.routing.cascade import Cascade, Stage

_ROWS, _COLUMNS = 96, 64
_NAMES = ("plain", "exact", "resized")
#: Nothing is stored of a chunk without entries, and ``grouped`` is never the smallest here.
_NOT_CHOSEN = {"empty", "none", "grouped"}


class AsIs(tvbank.Compressor):
    """Stores differences as they are, so that a test can choose what the encodings meet."""

    element = "float32"

    def describe(self) -> dict[str, Any]:
        return {"name": "AsIs"}

    def accepts(self, base: Any, tuned: Any) -> bool:
        return True

    def prepare(self, unit: str, base: Any, tuned: Any, each: Any = map) -> Any:
        difference = tuned.reshape(-1) - base.reshape(-1)
        return lambda start, stop: difference[start:stop].copy()


def masks(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """By name, which of some entries are not zero: one kind for each way to store it."""
    count = _ROWS * _COLUMNS
    rows = rng.random((_ROWS, 1)) ** 6
    columns = rng.random(_COLUMNS) ** 4
    runs = np.repeat(np.tile([False, True], 60), rng.geometric(1 / 50, 120))
    sparse = np.zeros(40 * count, bool)
    sparse[rng.choice(sparse.size, 900, replace=False)] = True
    few = np.zeros(1 << 12, bool)
    few[[9, 700, 2100, 4000]] = True
    return {
        "nothing": np.zeros(100, bool),
        "everything": np.ones(count, bool),
        "half": rng.random(count) < 0.5,
        "few": few,
        "one": np.arange(50) == 49,
        "most": rng.random(count) < 0.97,
        "runs": runs[:count],
        "scattered": rng.random(count) < 0.03,
        "sparse": sparse,
        "grouped": np.arange(2000) % 16 == rng.integers(0, 16, 2000 // 16).repeat(16),
        "matrix": (rng.random((_ROWS, _COLUMNS)) < rows * columns).reshape(-1),
    }


def values(rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    """By name, float32 numbers of one kind for each way to store them."""
    sign = np.where(rng.random(count) < 0.5, np.float32(-1), np.float32(1))
    normal = rng.standard_normal(count).astype(np.float32)
    return {
        "sign": sign * np.float32(0.0125),
        "table": rng.standard_normal(5).astype(np.float32)[rng.integers(0, 5, count)],
        "grid": (0.25 + rng.integers(0, 200, count) * np.float64(np.float32(0.001))).astype("f4"),
        "halves": normal.astype(np.float16).astype(np.float32),
        "brains": normal.astype(ml_dtypes.bfloat16).astype(np.float32) * np.float32(2.0**40),
        "floats": normal,
    }


def encodings_pair() -> tuple[dict[str, Any], dict[str, Any]]:
    """A base of zeros, and a fine-tune whose units need every encoding."""
    rng = np.random.default_rng(11)
    tuned: dict[str, Any] = {}
    for name, mask in masks(rng).items():
        kinds = values(rng, mask.size)
        some = kinds if name in ("scattered", "few") else {"sign": kinds["sign"]}
        for kind, numbers in some.items():
            entries = np.where(mask, numbers, np.float32(0)).astype(np.float32)
            shape = (_ROWS, _COLUMNS) if mask.size == _ROWS * _COLUMNS else (mask.size,)
            tuned[f"{name}.{kind}"] = entries.reshape(shape)
    return {name: np.zeros_like(entries) for name, entries in tuned.items()}, tuned


def model_pair(seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A base of every type, with a tie, buffers and a head, and a fine-tune of it."""
    rng = np.random.default_rng(7)
    shared = rng.standard_normal((40, 24)).astype(np.float32)
    base = {
        "embed": shared,
        "layer.weight": rng.standard_normal((48, 24)).astype(np.float32),
        "half": rng.standard_normal((30, 20)).astype(np.float16),
        "brain": rng.standard_normal((30, 20)).astype(ml_dtypes.bfloat16),
        "scale": np.array(0.5, np.float32),
        "none": np.zeros((3, 0), np.float32),
        "steps": np.array([1, 2]),
        "unembed": shared,
    }
    rng = np.random.default_rng(seed)
    tuned = {
        name: array
        if array.dtype.kind == "i"
        else np.asarray(array + 0.02 * rng.standard_normal(array.shape)).astype(array.dtype)
        for name, array in base.items()
    }
    tuned["unembed"] = tuned["embed"]
    tuned |= {
        "head.weight": rng.standard_normal((3, 24)).astype(ml_dtypes.bfloat16),
        "head.bias": np.arange(3, dtype=np.float16),
        "batches": np.array([seed, 6]),
        "flags": np.array([True, False]),
    }
    return base, tuned


def write_encodings(place: Path) -> None:
    base, tuned = encodings_pair()
    bank = tvbank.create(place, base)
    bank.add("float", tuned, AsIs())
    bank.add("steps", {name: (array * 1e-44).astype("f4") for name, array in tuned.items()},
             tvbank.Exact())  # fmt: skip
    bank.add("tenth", tuned, tvbank.Budget("10 %"))


def write_models(place: Path) -> None:
    base, tuned = model_pair(1)
    bank = tvbank.create(place, base, chunk_length=256)
    bank.add("plain", tuned, tvbank.TSwitch(drop=0.7), {"b": [1, {"d": 2, "c": 3}], "a": "ä"})
    odd = {name: np.array(array) for name, array in model_pair(2)[1].items()}
    odd["embed"].view(np.uint32).reshape(-1)[:5] = [0x7FC01234, 0xFF800001, 0x80000000, 0, 1]
    odd["half"].view(np.uint16).reshape(-1)[:3] = [0x8000, 0x7C01, 0xFFFF]
    odd["unembed"] = odd["embed"]
    bank.add("exact", odd, tvbank.Exact())
    bank.add("same", base, tvbank.Exact())
    larger = model_pair(3)[1]
    rows = np.random.default_rng(4).standard_normal((44, 24)).astype(np.float32)
    larger |= {"embed": rows, "unembed": rows}
    bank.add("resized", larger, tvbank.TSwitch(drop=0.5), replace_mismatched=True)
    bank.add("budget", model_pair(4)[1], tvbank.Budget("60 %"))
    bank.add("replaced", model_pair(5)[1], tvbank.TSwitch(drop=0.9))
    bank.add("replaced", model_pair(6)[1], tvbank.Budget("55 %"), replace=True)
    bank.add("removed", model_pair(8)[1], tvbank.TSwitch(drop=0.9))
    bank.remove("removed")
    rng = np.random.default_rng(9)
    centres = 2 * rng.standard_normal((3, 1, 6))
    for name, spread, options in (
        ("early", 1.5, {"reject": None}),
        ("late", 0.6, {"neighbours": 4}),
        ("plain", 1.0, {"metric": "euclidean", "neighbours": 7}),
    ):
        rows = (centres + spread * rng.standard_normal((3, 24, 6))).astype(np.float32)
        features = dict(zip(_NAMES, rows, strict=True))
        bank.add_router(name, tvbank.Router.fit(features, at=f"layer.{name}", **options))


def digest(array: Any) -> dict[str, Any]:
    """Type, shape and SHA-256 of an array."""
    array = np.ascontiguousarray(array) if np.ndim(array) else np.asarray(array)
    return {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
    }


def bits_of(tensor: Any) -> dict[str, Any]:
    """``digest`` of a tensor of torch."""
    import torch

    data = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
    return digest(data) | {"dtype": str(tensor.dtype).removeprefix("torch."),
                           "shape": list(tensor.shape)}  # fmt: skip


def weights_in(path: Path) -> dict[str, Any]:
    """``bits_of`` all tensors of a safetensors file."""
    from safetensors.torch import load_file

    return {name: bits_of(tensor) for name, tensor in sorted(load_file(path).items())}


def questions() -> np.ndarray:
    """Features that routers are asked about."""
    rng = np.random.default_rng(10)
    near = 2 * rng.standard_normal((40, 6))
    return np.concatenate([near, near[:3] + 60]).astype(np.float32)


def read_bank(bank: Any, asked: np.ndarray) -> dict[str, Any]:
    """What a reader gets out of a bank: tasks, with the encodings of their frames, and routers."""
    tasks = {}
    for name in bank:
        task = bank[name]
        units = {}
        for unit in task:
            positions, entries = task[unit].to_sparse()
            headers = [task.header(frame) for frame in task.frames(unit)]
            units[unit] = {
                "dense": digest(task[unit].to_dense()),
                "positions": digest(np.asarray(positions)),
                "entries": digest(np.asarray(entries)),
                "masks": sorted({header.mask for header in headers}),
                "values": sorted({header.values for header in headers}),
            }
        tasks[name] = {
            "element": task.element,
            "compressor": dict(task.compressor),
            "metadata": dict(task.metadata),
            "units": units,
            "extras": {extra: digest(task.extras[extra]) for extra in task.extras},
        }
    return {
        "generation": bank.generation,
        "tasks": tasks,
        "routers": list(read_routers(bank, asked)),
    }


def read_routers(bank: Any, asked: np.ndarray) -> Iterator[dict[str, Any]]:
    """Which task each question goes to, and how likely each task is."""
    for name in bank.routers:
        router = bank.router(name)
        yield {
            "name": name,
            "tasks": list(router.tasks),
            "at": list(router.recipe.at),
            "top": router.top(asked).tolist(),
            "weights": np.round(router.weights(asked), 9).tolist(),
        }


def decide(bank: Any, asked: np.ndarray) -> dict[str, list[float]]:
    """The verdicts of the two stages of a cascade."""
    cascade = Cascade([Stage(bank.router("early"), 0.9), bank.router("late")])
    verdicts = [stage.judge(asked) for stage in cascade.stages]
    return {
        "tops": [verdict.top.tolist() for verdict in verdicts],
        "confidences": [np.round(verdict.confidence, 6).tolist() for verdict in verdicts],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    if folder.exists():
        parser.error(f"{folder} exists; frozen banks are never written over")
    folder.mkdir(parents=True)
    write_encodings(folder / "encodings")
    write_models(folder / "models")
    tvbank.pack(folder / "models", folder / "models.zip")
    banks = {name: tvbank.open(folder / name) for name in ("encodings", "models", "models.zip")}
    asked = questions()
    np.save(folder / "questions.npy", asked)
    expected: dict[str, Any] = {
        "written_by": f"tvbank {tvbank.__version__}, numpy {np.__version__}, {platform.machine()}",
        "banks": {name: read_bank(bank, asked) for name, bank in banks.items()},
        "cascade": decide(banks["models"], asked),
        "exports": {},
        "merges": {},
    }
    base, out = folder / "base.safetensors", folder / "out.safetensors"
    tvbank.export(banks["models"], "same", base=model_pair(1)[0], out=base)
    for name in banks["models"]:
        tvbank.export(banks["models"], name, base=base, out=out)
        expected["exports"][name] = weights_in(out)
        out.unlink()
    for name, (weights, method) in merges().items():
        merged = tvbank.merge(banks["models"], weights, base=base, method=method)
        expected["merges"][name] = {unit: bits_of(tensor) for unit, tensor in merged.items()}
    units = [u for bank in expected["banks"].values() for t in bank["tasks"].values()
             for u in t["units"].values()]  # fmt: skip
    for kind, known in (("masks", MASK_ENCODINGS), ("values", VALUE_ENCODINGS)):
        missing = (
            set(known) - {name for unit in units for name in unit[kind]} - _NOT_CHOSEN - {"none"}
        )
        if missing:
            raise SystemExit(f"no frame has these {kind}: {missing}")
    text = json.dumps(expected, indent=1, ensure_ascii=False, sort_keys=True)
    (folder / "expected.json").write_text(text + "\n")


def merges() -> dict[str, tuple[dict[str, float], Any]]:
    """By name, weights of tasks and a method."""
    return {
        "sum": ({"plain": 0.3, "budget": 0.7}, tvbank.TaskArithmetic()),
        "ties": ({"plain": 0.3, "budget": 0.7, "replaced": 0.5}, tvbank.Ties()),
        "dare": ({"plain": 0.3, "replaced": 0.5}, tvbank.Dare(drop=0.5, seed=3)),
    }


if __name__ == "__main__":
    main()
