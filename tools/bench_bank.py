"""Add and export, side by side with reading the same two files once and subtracting.

    python tools/bench_bank.py [--base FILE --tuned FILE] [--repeat 7] [--json]

Without files it makes a pair of the size and shapes of a small BERT (22.6 M float32 parameters).
All in one process, rounds interleaved, page cache warm; medians and ratios are printed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _machine import machine
from safetensors.numpy import load_file, save_file

import tvbank


def make_pair(folder: Path) -> tuple[Path, Path]:
    """A base and a fine-tune in which only a tenth of the embedding's rows moved."""
    rng = np.random.default_rng(0)
    shapes = {"embeddings.word": (30522, 384), "embeddings.position": (512, 384)}
    for layer in range(6):
        for name in ("query", "key", "value", "output"):
            shapes[f"layer.{layer}.{name}.weight"] = (384, 384)
            shapes[f"layer.{layer}.{name}.bias"] = (384,)
        shapes[f"layer.{layer}.up.weight"] = (1536, 384)
        shapes[f"layer.{layer}.down.weight"] = (384, 1536)
    base = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}
    tuned = {}
    for name, weights in base.items():
        delta = rng.standard_normal(weights.shape, dtype=np.float32) * np.float32(1e-3)
        if name == "embeddings.word":
            delta[rng.random(len(delta)) < 0.9] = 0
        tuned[name] = weights + delta
    save_file(base, folder / "base.safetensors")
    save_file(tuned, folder / "tuned.safetensors")
    return folder / "base.safetensors", folder / "tuned.safetensors"


def measure(base: Path, tuned: Path, folder: Path, repeat: int) -> dict[str, float]:
    """Median seconds of each job, rounds interleaved."""
    bank = tvbank.create(folder / "bank", base=base)

    def read_and_subtract() -> None:
        first, second = load_file(base), load_file(tuned)
        for name in first:
            second[name] - first[name]

    def adding(compressor: tvbank.Compressor) -> Callable[[], object]:
        name = compressor.describe()["name"]
        return lambda: bank.add(name, tuned, compressor, replace=True)

    def exporting(name: str) -> Callable[[], object]:
        return lambda: tvbank.export(bank, name, base=base, out=folder / "out.safetensors")

    jobs = {
        "read both files and subtract": read_and_subtract,
        "add, T-Switch drop 0.9": adding(tvbank.TSwitch(drop=0.9)),
        "add, Exact": adding(tvbank.Exact()),
        "export, T-Switch": exporting("tswitch"),
        "export, Exact": exporting("exact"),
        "verify": bank.verify,
    }
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for round_number in range(repeat + 1):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            if round_number:  # the first round compiles
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path)
    parser.add_argument("--tuned", type=Path)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base, tuned = arguments.base, arguments.tuned
        if base is None or tuned is None:
            base, tuned = make_pair(folder)
        size = base.stat().st_size + tuned.stat().st_size
        seconds = measure(base, tuned, folder, arguments.repeat)
    reference = next(iter(seconds.values()))
    rows = [
        {"job": job, "seconds": value, "MB/s": size / value / 1e6, "ratio": value / reference}
        for job, value in seconds.items()
    ]
    if arguments.json:
        print(json.dumps({"machine": machine(), "bytes": size, "rows": rows}, indent=2))
        return
    print(f"{size / 1e6:.0f} MB in two files; {machine()}")
    for row in rows:
        print(
            f"{row['job']:<30} {row['seconds']:8.3f} s {row['MB/s']:8.0f} MB/s   "
            f"{row['ratio']:6.2f} x reading and subtracting"
        )


if __name__ == "__main__":
    main()
