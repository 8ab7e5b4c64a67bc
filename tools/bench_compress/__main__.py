"""The command: ``python -m tools.bench_compress --tasks FOLDER``."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

from rich.console import Console

from tools import realtasks
from tools._machine import machine
from tools.bench_compress import __doc__ as description
from tools.bench_compress._measure import Bench, Measured
from tools.bench_compress._methods import METHODS, settings
from tools.bench_compress._summary import lines, show, summarise
from tvbank.report import draw

_USUAL = [name for name in METHODS if name != "flexswitch"]


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m tools.bench_compress", description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--tasks", type=Path, required=True, help="a folder of tools.realtasks")
    parser.add_argument("--family", nargs="+", default=sorted(realtasks.FAMILIES),
                        choices=sorted(realtasks.FAMILIES))  # fmt: skip
    parser.add_argument("--only", nargs="+", metavar="TASK", help="names of tasks; default all")
    parser.add_argument("--methods", nargs="+", default=_USUAL, choices=list(METHODS),
                        help="default: all that need no data; flexswitch takes hours")  # fmt: skip
    parser.add_argument("--settings", nargs="+", metavar="TEXT",
                        help="only those, as the table names them: '1 %%', 'drop 0.9'")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, help="of methods with chance in them")
    parser.add_argument("--steps", type=int, default=500, help="of FlexSwitch")
    parser.add_argument("--held-out", type=int, default=400, metavar="N",
                        help="training examples, the last ones, that choose scales")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every measurement")
    parser.add_argument("--plot", type=Path, metavar="OUT", help="a picture, .svg or .png")
    arguments = parser.parse_args()

    console = Console(width=None if sys.stdout.isatty() else 140)
    rows: list[Measured] = []
    tuned: dict[tuple[str, str], float] = {}
    base: dict[tuple[str, str], float] = {}

    def write() -> None:
        if arguments.json is not None:
            facts = {
                "machine": machine(),
                "base": {"/".join(key): value for key, value in base.items()},
                "tuned": {"/".join(key): value for key, value in tuned.items()},
                "rows": [asdict(row) for row in rows],
            }
            arguments.json.write_text(json.dumps(facts, indent=1))

    for name in arguments.family:
        family = realtasks.load(arguments.tasks, name)
        tasks = [t for t in family.tasks.values() if not arguments.only or t.name in arguments.only]
        if not tasks:
            continue
        bench = Bench(family, arguments.held_out)
        for task in tasks:
            base[name, task.name], tuned[name, task.name] = bench.reference(task)
        for setting in settings(arguments.methods, arguments.steps):
            if arguments.settings and setting.label not in arguments.settings:
                continue
            for seed in range(arguments.seeds if setting.seeded else 1):
                rows += [bench.measure(setting, task, seed) for task in tasks]
            print(f"{name}: {setting.method}, {setting.label}", file=sys.stderr, flush=True)
            write()
        means = summarise([row for row in rows if row.family == name], tuned)
        best, least = (
            fmean(score for (of, _), score in found.items() if of == name)
            for found in (tuned, base)
        )
        title = f"{name}: mean over {len(tasks)} tasks; fine-tuned {best:.4f}, base {least:.4f}"
        show(title, means, console)
    if arguments.plot is not None and rows:
        levels = {"fine-tuned": fmean(tuned.values()), "base": fmean(base.values())}
        title = f"mean over {len(tuned)} tasks"
        draw(
            lines(summarise(rows, tuned)),
            arguments.plot,
            levels=levels,
            score="accuracy",
            title=title,
        )


if __name__ == "__main__":
    main()
