"""Switching a live model, as tools/bench_switch.py measures it, in its own process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import tvbank
from tools.bench._pairs import Family
from tools.bench._rounds import Row

_SCRIPT = Path(__file__).parents[1] / "bench_switch.py"

#: What the targets are for: the script's name of a job, and the most it may cost.
_TARGETS = {
    "base -> task, resident": 0.6,
    "base -> task, from a warm disk": 0.2,
}


def rows(family: Family, rounds: int) -> Iterator[Row]:
    """At a drop of 0.95, against a dense delta in RAM and against loading the checkpoint."""
    if not (_SCRIPT.exists() and hasattr(tvbank, "attach")):
        yield Row("switch.to", "adding a dense delta", note="this tvbank has no attach")
        return
    command = [sys.executable, str(_SCRIPT), "--json", "--rounds", str(8 * rounds)]
    if len(family.tuned) > 1:
        command += ["--base", str(family.base), "--tuned", *map(str, family.tuned[:2])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for row in json.loads(done.stdout)["rows"]:
        if row["job"] != row["against"]:
            ours = 1e3 * row["seconds"]
            theirs = ours / row["ratio"]
            target = _TARGETS.get(row["job"])
            yield Row(f"{family.name}: {row['job']}", row["against"], ours, theirs, target=target)
