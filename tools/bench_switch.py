"""Live switching, side by side with adding a dense delta and with loading a state dict.

    python tools/bench_switch.py [--base FILE --tuned FILE FILE] [--drop 0.95] [--json]

Without files it makes a base and two fine-tunes of the size and shapes of a small BERT (22.6 M
float32 parameters) in which every entry moves, so that no part of the masks is empty. All in one
process on two threads, rounds interleaved, page cache warm. Medians; in brackets the tenth
percentile, which a busy machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from _machine import machine
from safetensors.torch import load_file, save_file

import tvbank

THREADS = 2


def make_checkpoints(folder: Path) -> tuple[Path, list[Path]]:
    """A base and two fine-tunes with Gaussian steps everywhere."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"embeddings.word.weight": (30522, 384), "embeddings.position.weight": (512, 384)}
    for layer in range(6):
        for name in ("query", "key", "value", "output"):
            shapes[f"layer.{layer}.{name}.weight"] = (384, 384)
            shapes[f"layer.{layer}.{name}.bias"] = (384,)
        shapes[f"layer.{layer}.up.weight"] = (1536, 384)
        shapes[f"layer.{layer}.down.weight"] = (384, 1536)
    base = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    save_file(base, folder / "base.safetensors")
    tuned = [folder / "first.safetensors", folder / "second.safetensors"]
    for path in tuned:
        steps = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
        save_file({name: base[name] + 1e-3 * steps[name] for name in base}, path)
    return folder / "base.safetensors", tuned


def module_of(state: dict[str, torch.Tensor]) -> torch.nn.Module:
    """A module with this state dict and no forward pass."""
    root = torch.nn.Module()
    for name, tensor in state.items():
        *path, last = name.split(".")
        module = root
        for part in path:
            if part not in module._modules:
                module.add_module(part, torch.nn.Module())
            module = module.get_submodule(part)
        if tensor.is_floating_point():
            module.register_parameter(last, torch.nn.Parameter(tensor.clone()))
        else:
            module.register_buffer(last, tensor.clone())
    return root


def seconds_of(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def measure(
    base: Path, tuned: list[Path], drop: float, folder: Path, rounds: int
) -> dict[str, object]:
    """Seconds of every round of every job, and what was measured."""
    bank = tvbank.create(folder / "bank", base=base)
    for number, path in enumerate(tuned):
        bank.add(f"task-{number}", path, tvbank.TSwitch(drop=drop))
    names = list(bank)
    state = load_file(base)
    model, plain = module_of(state), module_of(state)
    warm = tvbank.attach(model, bank)
    cold = tvbank.attach(plain, bank, resident_bytes=0)
    other = load_file(tuned[0])
    floats = [name for name, tensor in state.items() if tensor.is_floating_point()]
    dense = {name: other[name].float() - state[name].float() for name in floats}
    target = module_of(state)
    parameters = dict(target.named_parameters())
    pairs = [(parameters[name], dense[name].to(parameters[name].dtype)) for name in floats]
    sparse = [(parameters[name], bank[names[0]][name].to_dense()) for name in floats]
    sparse = [(p, torch.from_numpy(d).to_sparse().to(p.dtype)) for p, d in sparse]
    both = {names[0]: 0.7, names[1]: 0.3}

    @torch.no_grad()
    def add_dense() -> None:
        for parameter, delta in pairs:
            parameter.add_(delta)

    @torch.no_grad()
    def add_sparse() -> None:
        for parameter, delta in sparse:
            parameter.add_(delta)

    times: dict[str, list[float]] = {}

    def run(name: str, job: Callable[[], object]) -> None:
        times.setdefault(name, []).append(seconds_of(job))

    def one_round() -> None:
        run("dense", add_dense)
        run("to", lambda: warm.to(names[0]))
        run("other", lambda: warm.to(names[1]))
        run("off", warm.off)
        run("dense", add_dense)
        run("merge", lambda: warm.to(both))
        warm.off()
        run("load", lambda: target.load_state_dict(load_file(tuned[0]), strict=False))
        run("cold", lambda: cold.to(names[0]))
        cold.off()
        run("sparse", add_sparse)

    for _ in range(3):  # compiles, reads, packs
        one_round()
    times.clear()
    for _ in range(rounds):
        one_round()
    task = bank[names[0]]
    return {
        "times": times,
        "parameters": sum(parameter.numel() for parameter, _ in pairs),
        "nonzeros": task.nonzeros,
        "stored_bytes": task.stored_bytes,
        "resident_bytes": warm.resident[names[0]],
    }


#: What is measured, how it is called, and what it is compared with.
ROWS = (
    ("dense", "add a dense delta in RAM", "dense"),
    ("sparse", "add torch.sparse deltas in RAM", "dense"),
    ("to", "base -> task, resident", "dense"),
    ("other", "task -> another task, resident", "dense"),
    ("off", "task -> base", "dense"),
    ("merge", "base -> two tasks, weighted", "dense"),
    ("load", "load_state_dict(load_file(path))", "load"),
    ("cold", "base -> task, from a warm disk", "load"),
)


def rows_of(times: dict[str, list[float]]) -> list[dict[str, object]]:
    def median(name: str) -> float:
        return statistics.median(times[name])

    def tenth(name: str) -> float:
        return statistics.quantiles(times[name], n=10)[0]

    return [
        {
            "job": job,
            "seconds": median(name),
            "against": {n: j for n, j, _ in ROWS}[reference],
            "ratio": median(name) / median(reference),
            "quiet_seconds": tenth(name),
            "quiet_ratio": tenth(name) / tenth(reference),
        }
        for name, job, reference in ROWS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path)
    parser.add_argument("--tuned", type=Path, nargs=2)
    parser.add_argument("--drop", type=float, default=0.95)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base, tuned = arguments.base, arguments.tuned
        if base is None or tuned is None:
            base, tuned = make_checkpoints(folder)
        result = measure(base, tuned, arguments.drop, folder, arguments.rounds)
    rows = rows_of(result.pop("times"))
    if arguments.json:
        facts = {**result, "drop": arguments.drop, "threads": THREADS}
        print(json.dumps({"machine": machine(), **facts, "rows": rows}, indent=2))
        return
    print(", ".join(f"{key} {value:,}" for key, value in result.items()), f"; {machine()}")
    for row in rows:
        print(
            f"{row['job']:<34} {1e3 * row['seconds']:8.2f} ms  [{1e3 * row['quiet_seconds']:7.2f}]"
            f"   {row['ratio']:6.2f}  [{row['quiet_ratio']:5.2f}]  x {row['against']}"
        )


if __name__ == "__main__":
    main()
