"""What all benchmarks share: times taken in turns, rows of ratios, and how figures are printed."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

Job = Callable[[], object]


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Give a path beside another to write to; it takes the other's place when all is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coming = path.with_name(f"coming-{path.name}")
    yield coming
    coming.replace(path)


@contextmanager
def silence() -> Iterator[None]:
    """Drop what C code writes to standard output."""
    with tempfile.TemporaryFile() as sink:
        kept = os.dup(1)
        os.dup2(sink.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)


def options(about: str) -> argparse.ArgumentParser:
    """A parser with a module's docstring as its help, and ``--json``."""
    parser = argparse.ArgumentParser(
        prog=sys.argv[0] if " " in sys.argv[0] else None, description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def machine() -> dict[str, str | int | None]:
    """The processor's name, the number of cores, and the versions that matter."""
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    packages = ("tvbank", "numpy", "numba", "zarr", "torch", "safetensors")
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def timed(job: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of wall-clock time, and what the job returns."""
    start = time.perf_counter()
    result = job()
    return time.perf_counter() - start, result


def in_turns(
    jobs: Mapping[str, Job], rounds: int, before: Job = lambda: None
) -> dict[str, list[float]]:
    """Seconds of each job in every round, one job after the other.

    A round before the first one is not counted: it compiles and warms the page cache. Nor is
    ``before``, which is called before each job.
    """
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds + 1):
        for name, job in jobs.items():
            before()
            seconds, _ = timed(job)
            if number:
                times[name].append(seconds)
    return times


def best_seconds(job: Job, within: float = 0.3) -> float:
    """The shortest time of a call, of as many as fit into some seconds."""
    job()
    best, stop = math.inf, time.perf_counter() + within
    while time.perf_counter() < stop:
        best = min(best, timed(job)[0])
    return best


def tenth(values: Sequence[float]) -> float:
    """The tenth percentile, which a busy machine disturbs less than the median."""
    return float(np.percentile(values, 10))


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        what: tvbank's part, and on what.
        against: what it is compared with.
        ours, theirs: in ``unit``.
        unit: "ms" or "bytes".
        target: the most that the ratio may be; None where nobody set one.
        note: what is included, or why there is no figure.
        quiet: the ratio of the tenth percentiles.
    """

    what: str
    against: str
    ours: float | None = None
    theirs: float | None = None
    unit: str = "ms"
    target: float | None = None
    note: str = ""
    quiet: float | None = None

    @classmethod
    def timed(
        cls, what: str, ours: Sequence[float], against: str, theirs: Sequence[float],
        target: float | None = None, note: str = "",
    ) -> Row:  # fmt: skip
        """A row of medians out of seconds in rounds."""
        return cls(
            what, against, 1e3 * statistics.median(ours), 1e3 * statistics.median(theirs),
            target=target, note=note, quiet=tenth(ours) / tenth(theirs),
        )  # fmt: skip

    @property
    def ratio(self) -> float | None:
        """Ours over theirs."""
        return self.ours / self.theirs if self.ours is not None and self.theirs else None

    def figures(self) -> dict[str, Any]:
        """The row's cells, by the name of the column."""
        late = self.target is not None and self.ratio is not None and self.ratio > self.target
        return {
            "what": self.what, "against": self.against, f"ours, {self.unit}": self.ours,
            f"theirs, {self.unit}": self.theirs, "ratio": self.ratio, "quiet": self.quiet,
            "target": self.target, "missed": "!" if late else "", "note": self.note,
        }  # fmt: skip


def report(
    arguments: argparse.Namespace,
    facts: Mapping[str, Any],
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
    """Print the machine, facts by name, and tables by title: as JSON or for people."""
    if arguments.json:
        print(json.dumps({"machine": machine(), **facts, **tables}, indent=1))
        return
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(_cell(machine()), highlight=False)
    for name, value in facts.items():
        console.print(f"{name}: {_cell(value)}", highlight=False)
    for title, rows in tables.items():
        console.print(table(title, rows))


def table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """A table with a column for each name in the rows, words to the left, figures to the right."""
    shown = Table(title=title, title_justify="left")
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in names:
        words = all(isinstance(row.get(name) or "", str) for row in rows)
        shown.add_column(name, justify="left" if words else "right")
    for row in rows:
        shown.add_row(*(_cell(row.get(name)) for name in names))
    return shown


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(part)}" for name, part in value.items())
    return "" if value is None else f"{value:,}" if type(value) is int else str(value)
