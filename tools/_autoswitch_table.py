"""What became of the rows of ``bench_autoswitch.py``, and their tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table


@dataclass
class Tally:
    """What became of one row's batches."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)
    deeper: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    answers: list[bool] = field(default_factory=list)


def tenth(values: list[float]) -> float:
    """The tenth percentile, within the range of what was measured."""
    return float(np.percentile(values, 10))


def lines(tallies: dict[str, Tally]) -> Iterator[dict[str, Any]]:
    for name, tally in tallies.items():
        if name == "plain":
            continue
        yield {
            "row": name,
            "ratio": statistics.median(tally.wall),
            "quiet_ratio": tenth(tally.wall),
            "processor_ratio": statistics.median(tally.processor),
            "quiet_processor_ratio": tenth(tally.processor),
            "runs": statistics.mean(tally.runs) if tally.runs else None,
            "deeper": statistics.mean(tally.deeper) if tally.deeper else None,
            "right": statistics.mean(tally.right),
            "answers": statistics.mean(tally.answers),
        }


def show(title: str, rows: list[dict[str, Any]], console: Console) -> None:
    table = Table(title=title, title_justify="left")
    for name in ("row", "ratio", "quiet", "CPU ratio", "quiet", "runs", "deeper", "right",
                 "answers"):  # fmt: skip
        table.add_column(name, justify="left" if name == "row" else "right")
    for row in rows:
        numbers = [f"{row[name]:.2f}" for name in (
            "ratio", "quiet_ratio", "processor_ratio", "quiet_processor_ratio")]  # fmt: skip
        runs = "" if row["runs"] is None else f"{row['runs']:.1f}"
        deeper = "" if row["deeper"] is None else f"{row['deeper']:.0%}"
        shares = f"{row['right']:.3f}", f"{row['answers']:.3f}"
        table.add_row(row["row"], *numbers, runs, deeper, *shares)
    console.print(table)
