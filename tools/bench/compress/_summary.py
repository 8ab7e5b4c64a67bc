"""Means over tasks: rows, a table, points of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import final

from rich.console import Console
from rich.table import Table

from tools.bench.compress._measure import Measured
from tvbank.report import Point


@final
@dataclass(frozen=True)
class Mean:
    """A setting, over tasks and seeds.

    Attributes:
        lost: accuracy of the fine-tunes minus that of what was stored, in points.
        spread: standard deviation over seeds of the mean over tasks, in points.
    """

    method: str
    label: str
    stored_bytes: float
    share: float
    bits_per_parameter: float
    accuracy: float
    lost: float
    spread: float
    seconds: float


def summarise(rows: Sequence[Measured], tuned: dict[tuple[str, str], float]) -> list[Mean]:
    """Mean of each setting over its tasks and seeds.

    Args:
        rows: all of one family or of several.
        tuned: accuracy of the fine-tune, by family and task.
    """
    groups: dict[tuple[str, str], list[Measured]] = {}
    for row in rows:
        groups.setdefault((row.method, row.label), []).append(row)
    return [_mean(group, tuned) for group in groups.values()]


def _mean(group: Sequence[Measured], tuned: dict[tuple[str, str], float]) -> Mean:
    seeds = sorted({row.seed for row in group})
    by_seed = [fmean(row.accuracy for row in group if row.seed == seed) for seed in seeds]
    return Mean(
        group[0].method,
        group[0].label,
        fmean(row.stored_bytes for row in group),
        fmean(row.share for row in group),
        fmean(row.bits_per_parameter for row in group),
        fmean(row.accuracy for row in group),
        100 * fmean(tuned[row.family, row.task] - row.accuracy for row in group),
        100 * pstdev(by_seed),
        fmean(row.seconds for row in group),
    )


def show(title: str, means: Sequence[Mean], console: Console) -> None:
    """Print a table."""
    table = Table(title=title, title_justify="left")
    for number, name in enumerate(
        ("method", "setting", "of fp32", "bits/param", "accuracy", "lost, points", "±", "seconds")
    ):
        table.add_column(name, justify="left" if number < 2 else "right")
    for mean in means:
        table.add_row(
            mean.method, mean.label, f"{mean.share:.3%}", f"{mean.bits_per_parameter:.4f}",
            f"{mean.accuracy:.4f}", f"{mean.lost:+.2f}", f"{mean.spread:.2f}",
            f"{mean.seconds:.1f}",
        )  # fmt: skip
    console.print(table)


def lines(means: Sequence[Mean]) -> dict[str, list[Point]]:
    """Points of a picture, by method."""
    found: dict[str, list[Point]] = {}
    for mean in means:
        point = Point(
            {"name": mean.method, "setting": mean.label}, round(mean.stored_bytes),
            mean.bits_per_parameter, mean.share, mean.accuracy, mean.seconds,
        )  # fmt: skip
        found.setdefault(mean.method, []).append(point)
    return found
