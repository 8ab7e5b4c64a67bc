"""Ratios of tvbank to what else would do the job, side by side.

    python -m tools.bench [--base FILE --tuned FILE...] [--only PART...] [--quick] [--json]

Without files it makes a pair of the size and shapes of a small BERT. Peers that are not installed
(pip install '.[bench]') are listed as such. Every ratio is tvbank's bytes or median time over the
other's, of rounds that take turns in one process, with a warm page cache; "!" marks a target that
was missed. Every part has a process of its own, so that none inherits another's memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tools._machine import machine
from tools.bench import adding, merging, reading, sizes, starting, switching
from tools.bench._pairs import Family, synthetic
from tools.bench._rounds import Row

PARTS = ("sizes", "adding", "reading", "merging", "switching", "starting")


def measure(family: Family, part: str, folder: Path, rounds: int, quick: bool) -> Iterator[Row]:
    """The rows of one part."""
    match part:
        case "sizes":
            yield from sizes.synthetic(quick)
            yield from sizes.real(family, quick)
        case "adding":
            yield from adding.rows(family, folder, rounds)
        case "reading":
            yield from reading.rows(family, folder, rounds)
        case "merging":
            yield from merging.rows(family, folder, rounds)
        case "switching":
            yield from switching.rows(family, rounds)
        case "starting":
            yield from starting.rows(family, folder, rounds)


def show(title: str, rows: list[Row], console: Console) -> None:
    """Print one part."""
    table = Table(title=title, title_justify="left")
    for name in ("what", "against", "ours", "theirs", "ratio", "target", "note"):
        table.add_column(name, justify="left" if name in ("what", "against", "note") else "right")
    for row in rows:
        mark = " !" if row.reached is False else ""
        table.add_row(
            row.what,
            row.against,
            _figure(row.ours, row.unit),
            _figure(row.theirs, row.unit),
            "" if row.ratio is None else f"{row.ratio:.3f}{mark}",
            "" if row.target is None else f"{row.target:.2f}",
            row.note,
        )
    console.print(table)


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:,.0f} B" if unit == "bytes" else f"{value:,.1f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--base", type=Path, help="a safetensors file")
    parser.add_argument("--tuned", type=Path, nargs="+", help="its fine-tunes")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="leave out what takes minutes")
    parser.add_argument("--folder", type=Path, help="where to write; by default a temporary one")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if (arguments.base is None) != (arguments.tuned is None):
        parser.error("give both --base and --tuned, or neither")
    if arguments.part:
        print(json.dumps([asdict(row) for row in _part(arguments)]))
        return
    console = Console(width=160)
    report = {"machine": machine(), "rounds": arguments.rounds, "parts": {}}
    if not arguments.json:
        console.print(", ".join(f"{name} {value}" for name, value in report["machine"].items()))
    for part in arguments.only:
        command = [sys.executable, "-m", "tools.bench", *sys.argv[1:], "--part", part]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        rows = [Row(**row) for row in json.loads(done.stdout.splitlines()[-1])]
        report["parts"][part] = [
            asdict(row) | {"ratio": row.ratio, "reached": row.reached} for row in rows
        ]
        if not arguments.json:
            show(part, rows, console)
    if arguments.json:
        print(json.dumps(report, indent=1))


def _part(arguments: argparse.Namespace) -> list[Row]:
    """Measure one part in this process."""
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        if arguments.base:
            family = Family(arguments.base.stem, arguments.base, tuple(arguments.tuned))
        else:
            family = synthetic(folder)
        return list(measure(family, arguments.part, folder, arguments.rounds, arguments.quick))


if __name__ == "__main__":
    main()
