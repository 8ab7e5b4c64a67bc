"""Switching a live model: tools/bench_switch.py measures that, in its own table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tools.bench._pairs import Family
from tools.bench._rounds import Row


def rows(family: Family, folder: Path, rounds: int) -> Iterator[Row]:
    """Nothing yet but where to look."""
    yield Row("switch.to", "see tools/bench_switch.py", note="its own command")
