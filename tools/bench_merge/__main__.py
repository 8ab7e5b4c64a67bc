"""Every way to have many tasks in one model, on real fine-tunes, from bank bytes.

    python -m tools.bench_merge --tasks FOLDER --family minilm [--json] [--tests 400]

FOLDER is what `python -m tools.realtasks build` writes. Parameters are chosen on training examples
(`--tuning` of each task) that neither the routers (`--routing` of each) nor the tests see, the
layer to route at on others (`--choosing`), whose labels are not used.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import torch
from rich.console import Console

import tvbank
from tools._machine import machine
from tools.bench_merge import _routed, _static, _switched
from tools.bench_merge._banks import bank_of
from tools.bench_merge._show import show
from tools.bench_merge._trial import Row, Trial, trial_of
from tools.realtasks import FAMILIES, Family, load

PARTS = ("switched", "routed", "static")


def measure(trial: Trial, folder: Path, arguments: argparse.Namespace) -> Iterator[Row]:
    """All rows of the parts that are asked for; banks are written to a folder."""
    exact = bank_of(trial, folder / "exact", tvbank.Exact())
    emr = _switched.emr_of_bank(trial, exact)
    if "switched" in arguments.parts:
        yield _switched.base_row(trial)
        yield _switched.tuned_row(trial, exact)
        yield _switched.emr_row(trial, emr)
    if "switched" in arguments.parts or "routed" in arguments.parts:
        allowed = int(arguments.share * emr.stored)
        made = list(_switched.tswitch_rows(trial, folder, allowed, arguments.drops, _say))
        yield from (row for row, _ in made)
        if "routed" in arguments.parts:
            _, smallest = made[-1]
            known, planned = _switched.budget_row(trial, folder, smallest)
            yield known
            routers = _routed.routers_of(trial, _say)
            for label, bank in (("", smallest), (" of Budget", planned)):
                yield from _routed.rows(trial, bank, label, routers, arguments.timed)
    if "static" in arguments.parts:
        yield from _static.rows(trial, exact, _say)


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def _family(arguments: argparse.Namespace) -> Family:
    family = load(arguments.tasks, arguments.family)
    if arguments.only:
        family = replace(family, tasks={name: family.tasks[name] for name in arguments.only})
    return family


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench_merge",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tasks", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--family", choices=list(FAMILIES), required=True)
    parser.add_argument("--only", nargs="+", metavar="TASK", help="by default all tasks")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--tests", type=int, default=400, help="of each task")
    parser.add_argument("--tuning", type=int, default=50, help="examples of each task")
    parser.add_argument("--routing", type=int, default=100, help="examples of each task")
    parser.add_argument("--choosing", type=int, default=100, help="examples of each task")
    parser.add_argument("--drops", type=float, nargs="+", default=_switched.DROPS, metavar="DROP")
    parser.add_argument("--timed", type=int, default=20, help="batches of each kind; 0 for none")
    parser.add_argument("--share", type=float, default=0.1, help="of EMR's bytes for a small bank")
    parser.add_argument("--threads", type=int, help="of torch; by default as it likes")
    parser.add_argument("--folder", type=Path, help="for banks; by default a temporary one")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    family = _family(arguments)
    sizes = (arguments.routing, arguments.choosing, arguments.tuning, arguments.tests)
    trial = trial_of(family, *sizes)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for row in measure(trial, Path(folder), arguments):
            rows.append(row)
            _say(f"{row.method} ({row.setting}): {row.mean:.4f}, {row.stored / 2**20:.2f} MiB")
    if arguments.json:
        settings = {
            name: str(value) if isinstance(value, Path) else value
            for name, value in vars(arguments).items()
        }
        report = [asdict(row) | {"mean": row.mean} for row in rows]
        print(json.dumps({"machine": machine(), "settings": settings, "rows": report}, indent=1))
        return
    show(rows, list(trial.tasks), Console(width=240))


if __name__ == "__main__":
    main()
