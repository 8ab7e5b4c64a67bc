"""Every way to have many tasks in one model, on real fine-tunes, from bank bytes.

    python -m tools.bench multitask --tasks FOLDER --family minilm [--parts static] [--json OUT]

FOLDER is what `python -m tools.bench realtasks build` writes. Parameters are chosen on training
examples (`--tuning` of each task) that neither the routers (`--routing` of each, drawn once for
each of `--seeds`) nor the tests see; FlexSwitch learns from the first hundred of each, without
labels.
Parts can be run apart: `--beside` shows the rows of an earlier `--json` in the same tables, but for
those that are measured anew. What is routed are the banks of the parts that make some.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

import tvbank
from tools.bench._measure import machine
from tools.bench.multitask import _baselines, _rivals, _routed, _switched
from tools.bench.multitask._show import show
from tools.bench.multitask._trial import Row, Trial, bank_of, trial_of
from tools.bench.realtasks import FAMILIES, Family, load

PARTS = ("references", "static", "rivals", "switched", "flexswitch", "routed")


def measure(trial: Trial, folder: Path, arguments: argparse.Namespace) -> Iterator[Row]:
    """All rows of the parts that are asked for; banks are written to a folder."""
    parts = arguments.parts
    exact = bank_of(trial, folder / "exact", lambda _: tvbank.Exact())
    emr = _switched.emr_of_bank(trial, exact)
    if "references" in parts:
        yield _switched.base_row(trial)
        yield _switched.tuned_row(trial, exact)
        yield _switched.emr_row(trial, emr)
    if "static" in parts:
        yield from _baselines.rows(trial, exact, _say)
    if "rivals" in parts:
        yield from _rivals.rows(trial, exact, emr, _say)
    known: dict[str, _switched.Known] = {}
    if "switched" in parts:
        allowed = int(arguments.share * emr.stored)
        found = list(_switched.tswitch(trial, folder, allowed, arguments.drops, _say))
        known[""] = found[-1]
        known[" of Budget"] = _switched.budget(trial, folder, known[""].bank)
        yield from (each.row for each in (*found, known[" of Budget"]))
    if "flexswitch" in parts:
        known[" of FlexSwitch"] = _switched.flexswitch(trial, folder, arguments.sizes, _say)
        yield known[" of FlexSwitch"].row
    if "routed" in parts:
        drawn = {seed: _routed.routers(trial, seed, _say) for seed in range(arguments.seeds)}
        ways = [(way, label) for way in _routed.FEW for label in known]
        ways += [(way, "") for way in _routed.MORE if "" in known]
        for way, label in ways:
            yield _routed.routed(trial, known[label].bank, label, way, drawn, arguments.timed)


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def _family(arguments: argparse.Namespace) -> Family:
    family = load(arguments.tasks, arguments.family)
    if arguments.only:
        family = replace(family, tasks={name: family.tasks[name] for name in arguments.only})
    return family


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench.multitask",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tasks", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--family", choices=list(FAMILIES), required=True)
    parser.add_argument("--only", nargs="+", metavar="TASK", help="by default all tasks")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--tests", type=int, help="of each task; by default all")
    parser.add_argument("--tuning", type=int, default=200, help="examples of each task")
    parser.add_argument("--routing", type=int, default=100, help="examples of each task")
    parser.add_argument("--seeds", type=int, default=3, help="draws of examples for the routers")
    parser.add_argument("--drops", type=float, nargs="+", default=_switched.DROPS, metavar="DROP")
    parser.add_argument("--sizes", nargs="+", default=["0.35 %"], help="of FlexSwitch's tasks")
    parser.add_argument("--timed", type=int, default=20, help="batches of each kind; 0 for none")
    parser.add_argument("--share", type=float, default=0.09, help="of EMR's bytes for a small bank")
    parser.add_argument("--threads", type=int, help="of torch; by default as it likes")
    parser.add_argument(
        "--folder", type=Path, help="for banks, which stay; by default a temporary one"
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="every row, test by test")
    parser.add_argument("--beside", type=Path, nargs="+", default=(), metavar="JSON")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    family = _family(arguments)
    trial = trial_of(family, arguments.routing, arguments.tuning, arguments.tests)
    others: dict[str, Row] = {}
    for path in arguments.beside:
        others |= {r["method"]: Row.from_json(r) for r in json.loads(path.read_text())["rows"]}
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for row in measure(trial, folder, arguments):
            rows.append(row)
            _say(f"{row.method} ({row.setting}): {row.mean:.4f}, {row.stored / 2**20:.2f} MiB")
            if arguments.json:
                _write(arguments.json, rows, arguments)
    shown = others | {row.method: row for row in rows}
    show(list(shown.values()), Console(width=None if sys.stdout.isatty() else 240))


def _write(path: Path, rows: list[Row], arguments: argparse.Namespace) -> None:
    settings = {name: str(value) for name, value in vars(arguments).items()}
    report = {"machine": machine(), "settings": settings, "rows": [row.to_json() for row in rows]}
    path.write_text(json.dumps(report))


if __name__ == "__main__":
    main()
