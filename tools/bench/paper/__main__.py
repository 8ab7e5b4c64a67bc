"""The paper's methods to the letter, and ours beside them, on the same real fine-tunes.

    python -m tools.bench paper --tasks FOLDER --family vit --folder KEPT [--json OUT]

FOLDER is what `python -m tools.bench realtasks build` writes. T-Switch, Auto-Switch (Eq. 5),
FlexSwitch (Eq. 14, KL, lambda .5) with its halves alone, and Auto-FlexSwitch (Eq. 19) have the
settings that the paper gives; ours are Budget and FlexSwitch to a size, and the router that
`tvbank.routing.fit` makes. Learned banks, resume files and rows stay in KEPT, and a run that was
stopped goes on from there; so do other choices of ways and seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from tools.bench._measure import machine
from tools.bench.multitask._show import show
from tools.bench.multitask._trial import trial_of
from tools.bench.paper._kept import Kept
from tools.bench.paper._settings import SIZE, Run
from tools.bench.paper._ways import WAYS, measure
from tools.bench.realtasks import FAMILIES, load


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench paper",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tasks", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--family", choices=list(FAMILIES), required=True)
    parser.add_argument("--only", nargs="+", metavar="TASK", help="by default all tasks")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--folder", type=Path, required=True, help="what is kept of a run")
    parser.add_argument("--steps", type=int, default=500, help="of FlexSwitch")
    parser.add_argument(
        "--size", help="that our ways end at; by default .35 %% of text, .8 of images"
    )
    parser.add_argument("--seeds", type=int, default=1, help="how many, from 0 on")
    parser.add_argument("--tests", type=int, help="of each task; by default all")
    parser.add_argument("--tuning", type=int, default=200, help="examples kept from the routers")
    parser.add_argument("--routing", type=int, default=100, help="examples of each task")
    parser.add_argument("--timed", type=int, default=0, help="batches of each kind")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--json", type=Path, metavar="OUT", help="every row, test by test")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    family = load(arguments.tasks, arguments.family)
    if arguments.only:
        family = replace(family, tasks={name: family.tasks[name] for name in arguments.only})
    trial = trial_of(family, arguments.routing, arguments.tuning, arguments.tests)
    size = arguments.size or SIZE[family.name]
    runs = [Run(family, arguments.steps, seed, size) for seed in range(arguments.seeds)]
    kept = Kept(arguments.folder / family.name, _say)
    rows = []
    for row in measure(trial, kept, arguments.ways, runs, arguments.timed):
        rows.append(row)
        _say(f"{row.method} {row.setting}: {row.mean:.4f}, {row.stored / 2**20:.2f} MiB")
    if arguments.json:
        settings = {name: str(value) for name, value in vars(arguments).items()}
        made = {"machine": machine(), "settings": settings, "rows": [r.to_json() for r in rows]}
        arguments.json.write_text(json.dumps(made))
    show(rows, Console(width=None if sys.stdout.isatty() else 240))


if __name__ == "__main__":
    main()
