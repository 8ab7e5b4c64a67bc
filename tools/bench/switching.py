"""Live switching, side by side with adding a dense delta and with loading a state dict.

    python -m tools.bench switching [--base FILE --tuned FILE FILE] [--drop 0.95] [--json]

Without files it makes a base and two fine-tunes of the size and shapes of a small BERT in which
every entry moves, so that no part of the masks is empty. All in one process on two threads, jobs in
turns, page cache warm. "quiet" is the ratio of the tenth percentiles.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

import tvbank
from tools.bench._checkpoints import Checkpoints, add_files, files
from tools.bench._measure import Row, options, report, timed

THREADS = 2

#: What is measured, what it is called, what it is compared with, and the most it may cost.
ROWS = (
    ("sparse", "add torch.sparse deltas in RAM", "dense", None),
    ("to", "base -> task, resident", "dense", 0.6),
    ("other", "task -> another task, resident", "dense", None),
    ("off", "task -> base", "dense", None),
    ("merge", "base -> two tasks, weighted", "dense", None),
    ("cold", "base -> task, from a warm disk", "load", 0.2),
)
AGAINST = {"dense": "add a dense delta in RAM", "load": "load_state_dict(load_file(path))"}


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


def measure(
    given: Checkpoints, folder: Path, arguments: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Seconds of every round of every job, and what was measured."""
    bank = tvbank.create(folder / "bank", base=given.base)
    for number, path in enumerate(given.tuned[:2]):
        bank.add(f"task-{number}", path, tvbank.TSwitch(drop=arguments.drop))
    names = list(bank)
    state = load_file(given.base)
    model, plain = module_of(state), module_of(state)
    warm = tvbank.attach(model, bank)
    cold = tvbank.attach(plain, bank, resident_bytes=0)
    other = load_file(given.tuned[0])
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
        times.setdefault(name, []).append(timed(job)[0])

    def one_round() -> None:
        run("dense", add_dense)
        run("to", lambda: warm.to(names[0]))
        run("other", lambda: warm.to(names[1]))
        run("off", warm.off)
        run("dense", add_dense)
        run("merge", lambda: warm.to(both))
        warm.off()
        run("load", lambda: target.load_state_dict(load_file(given.tuned[0]), strict=False))
        run("cold", lambda: cold.to(names[0]))
        cold.off()
        run("sparse", add_sparse)

    for _ in range(3):  # compiles, reads, packs
        one_round()
    times.clear()
    for _ in range(arguments.rounds):
        one_round()
    task = bank[names[0]]
    return times, {
        "parameters": sum(parameter.numel() for parameter, _ in pairs),
        "nonzeros": task.nonzeros,
        "stored bytes": task.stored_bytes,
        "resident bytes": warm.resident[names[0]],
        "drop": arguments.drop,
        "threads": THREADS,
    }


def main() -> None:
    parser = options(__doc__)
    add_files(parser)
    parser.add_argument("--drop", type=float, default=0.95)
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    with files(arguments, count=2, moved=1.0) as (given, folder):
        times, facts = measure(given, folder, arguments)
    rows = [
        Row.timed(what, times[name], AGAINST[other], times[other], target).figures()
        for name, what, other, target in ROWS
    ]
    report(arguments, facts, {given.name: rows})


if __name__ == "__main__":
    main()
