"""What a fresh process costs: imports, the command line's start, the first ``add``."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import tvbank
from tools.bench._pairs import Family
from tools.bench._rounds import Row

_VERB = "from tvbank.cli import main; main()"
_ADD = """
import sys, time
start = time.perf_counter()
import tvbank
bank, tuned, repeat = sys.argv[1], sys.argv[2], int(sys.argv[3])
opened = tvbank.open(bank)
opened.add("first", tuned, replace=True, replace_mismatched=True)
print(time.perf_counter() - start)
for _ in range(repeat):
    start = time.perf_counter()
    opened.add("first", tuned, replace=True, replace_mismatched=True)
    print(time.perf_counter() - start)
"""
_IMPORTED = "\nimport sys; print(*(name for name in ('numba', 'torch') if name in sys.modules))"


def rows(family: Family, folder: Path, rounds: int) -> Iterator[Row]:
    """Absolute times, against limits in seconds: there is nothing to compare with."""
    bank = str(folder / "bank-starting")
    tvbank.create(bank, base=family.base).add(
        "task", family.tuned[0], tvbank.TSwitch(), replace_mismatched=True
    )
    python = [sys.executable, "-c"]
    bare = _seconds([*python, "pass"], rounds)
    yield _limit("import tvbank", _seconds([*python, "import tvbank"], rounds) - bare, None)
    for verb in (["ls", bank], ["show", bank], ["show", bank, "task"]):
        taken = _seconds([*python, _VERB, *verb], rounds)
        code = f"import sys; sys.argv[1:] = {verb!r}\ntry:\n  {_VERB}\nexcept SystemExit: pass"
        found = _output([*python, code + _IMPORTED]).splitlines()[-1].strip()
        note = f"imports {found}" if found else "imports neither numba nor torch"
        yield _limit(f"tvbank {verb[0]}{' TASK' * (len(verb) > 2)}", taken, 0.3, note)
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        command = [*python, _ADD, bank, str(family.tuned[0])]
        first = float(_output([*command, "0"], cache).split()[0])
        cached = [_output([*command, "3"], cache).split() for _ in range(rounds)]
    over = [float(line[0]) - statistics.median(map(float, line[1:])) for line in cached]
    yield _limit(f"{family.name}: first add, everything compiled from nothing", first, 15.0)
    yield _limit(f"{family.name}: first add, cached, over a warm one", statistics.median(over), 0.5)


def _limit(what: str, seconds: float, limit: float | None, note: str = "") -> Row:
    against = "a limit" if limit else "nothing"
    return Row(what, against, 1e3 * seconds, 1e3 * limit if limit else None,
               target=1.0 if limit else None, note=note)  # fmt: skip


def _seconds(command: list[str], rounds: int) -> float:
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        _output(command)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def _output(command: list[str], cache: str | None = None) -> str:
    environment = os.environ | ({"NUMBA_CACHE_DIR": cache} if cache else {})
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True,
        cwd=Path(tvbank.__file__).parents[1],
    ).stdout  # fmt: skip
