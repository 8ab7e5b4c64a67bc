"""Accuracy of real fine-tunes against their stored bytes, by every method."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import fmean

from rich.console import Console

from tools.bench import realtasks
from tools.bench._measure import table
from tools.bench.compress import __doc__ as description
from tools.bench.compress._measure import Bench
from tools.bench.compress._methods import LAMBDAS, METHODS, Learning, settings
from tools.bench.compress._record import Record, lines, rows_of, summarise
from tvbank.reporting import draw

_USUAL = [name for name in METHODS if not name.startswith("flexswitch")]


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m tools.bench compress", description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "--tasks", type=Path, required=True, help="a folder of tools.bench.realtasks"
    )
    parser.add_argument("--family", nargs="+", default=sorted(realtasks.FAMILIES),
                        choices=sorted(realtasks.FAMILIES))  # fmt: skip
    parser.add_argument("--only", nargs="+", metavar="TASK", help="names of tasks; default all")
    parser.add_argument("--methods", nargs="+", default=_USUAL, choices=list(METHODS),
                        help="default: all that need no data; flexswitch takes hours")  # fmt: skip
    parser.add_argument("--settings", nargs="+", metavar="TEXT",
                        help="only those, as the table names them: '1 %%', 'drop 0.9'")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, help="of methods with chance in them")
    parser.add_argument("--steps", type=int, default=200, help="of FlexSwitch")
    parser.add_argument("--losses", nargs="+", default=list(LAMBDAS), choices=list(LAMBDAS),
                        help="of FlexSwitch")  # fmt: skip
    parser.add_argument("--device", default="cpu", help="where models run: cpu or cuda")
    parser.add_argument("--held-out", type=int, default=400, metavar="N",
                        help="training examples, the last ones, that choose scales")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="OUT",
                        help="every measurement; what it has already is not repeated")  # fmt: skip
    parser.add_argument("--plot", type=Path, metavar="OUT", help="a picture, .svg or .png")
    arguments = parser.parse_args()

    console = Console(width=None if sys.stdout.isatty() else 140)
    record = Record.load(arguments.json)
    learning = Learning(arguments.steps, arguments.losses, arguments.device)
    for name in arguments.family:
        family = realtasks.load(arguments.tasks, name)
        tasks = [t for t in family.tasks.values() if not arguments.only or t.name in arguments.only]
        if not tasks:
            continue
        bench = Bench(family, arguments.held_out, arguments.device)
        for task in tasks:
            if (name, task.name) not in record.tuned:
                record.refer(name, task.name, *bench.reference(task))
        for setting in settings(arguments.methods, learning):
            if arguments.settings and setting.label not in arguments.settings:
                continue
            for seed in range(arguments.seeds if setting.seeded else 1):
                for task in tasks:
                    if not record.has(name, task.name, setting.method, setting.label, seed):
                        record.add(bench.measure(setting, task, seed))
            print(f"{name}: {setting.method}, {setting.label}", file=sys.stderr, flush=True)
        means = summarise([row for row in record.rows if row.family == name], record.tuned)
        best, least = (
            fmean(score for (of, _), score in found.items() if of == name)
            for found in (record.tuned, record.base)
        )
        count = sum(of == name for of, _ in record.tuned)
        title = f"{name}: mean over {count} tasks; fine-tuned {best:.4f}, base {least:.4f}"
        console.print(table(title, rows_of(means)))
    if arguments.plot is not None and record.rows:
        draw(
            lines(summarise(record.rows, record.tuned)),
            arguments.plot,
            levels={
                "fine-tuned": fmean(record.tuned.values()),
                "base": fmean(record.base.values()),
            },
            score="accuracy",
            title=f"mean over {len(record.tuned)} tasks",
        )


if __name__ == "__main__":
    main()
