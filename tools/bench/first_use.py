"""First use: CPU seconds of each verb with an empty compile cache, in processes of their own.

    python -m tools.bench first_use [--against CHECKOUT] [--rounds 3]

The task is like a real one: matrices of a transformer's shapes whose rows and columns differ, a
bias, a T-Switch task. CPU seconds are user plus system, of the whole process, imports included.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tools import ROOT
from tools.bench._measure import machine, options

_MAKE = """
import sys
import numpy as np
rng = np.random.default_rng(0)
base = {"layer.weight": np.ones((64, 4096), "f4"), "layer.bias": np.arange(1, 1001, dtype="f4")}
tuned = {name: array + (0.01 * rng.standard_normal(array.shape)).astype("f4")
         for name, array in base.items()}
place = sys.argv[1]
import tvbank
"""
_VERBS = {
    "import tvbank": "import tvbank",
    "create + add": _MAKE + "tvbank.create(place, base=base).add('task', tuned)",
    "first to_dense": _MAKE + "task = tvbank.open(place)['task']\n"
    "for unit in task: task[unit].to_dense()",
    "first to_sparse": _MAKE + "task = tvbank.open(place)['task']\n"
    "for unit in task: task[unit].to_sparse()",
    "attach + first to": _MAKE + "import torch\n"
    "model = torch.nn.Module()\nmodel.layer = torch.nn.Module()\n"
    "for name, array in base.items():\n"
    "    model.layer.register_parameter(\n"
    "        name.split('.')[1], torch.nn.Parameter(torch.tensor(array)))\n"
    "tvbank.attach(model, tvbank.open(place)).to('task')",
}


def seconds(checkout: Path, code: str, place: str) -> float:
    """CPU seconds of a process that has compiled nothing before."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"NUMBA_CACHE_DIR": cache, "PYTHONPATH": str(checkout)}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code, place], env=environment, check=True, cwd=cache)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(checkouts: list[Path], rounds: int) -> dict[str, list[float]]:
    """Median seconds of each verb in each checkout, taken in turns."""
    times: dict[str, list[list[float]]] = {verb: [[] for _ in checkouts] for verb in _VERBS}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds):
            for verb, code in _VERBS.items():
                for number, checkout in enumerate(checkouts):
                    place = f"{folder}/bank-{number}"
                    if verb == "create + add":
                        place += f"-{turn}"
                    elif not Path(place).exists():
                        subprocess.run(
                            [sys.executable, "-c", _VERBS["create + add"], place], check=True,
                            env=os.environ | {"PYTHONPATH": str(checkout)}, cwd=folder,
                        )  # fmt: skip
                    times[verb][number].append(seconds(checkout, code, place))
    return {verb: [statistics.median(each) for each in taken] for verb, taken in times.items()}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--against", type=Path, help="another checkout, such as one of before")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    checkouts = [ROOT, *([arguments.against.resolve()] if arguments.against else [])]
    found = measure(checkouts, arguments.rounds)
    found["sum of the four"] = [sum(each) for each in zip(*list(found.values())[1:], strict=True)]
    if arguments.json:
        print(json.dumps({"machine": machine(), "seconds": found}, indent=1))
        return
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    for verb, (ours, *theirs) in found.items():
        other = f"{theirs[0]:8.2f} s   {ours / theirs[0]:.2f}" if theirs else ""
        print(f"{verb:20} {ours:8.2f} s {other}")


if __name__ == "__main__":
    main()
