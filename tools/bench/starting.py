"""What a fresh process costs: imports, the command line's start, the first ``add``.

    python -m tools.bench starting [--base FILE --tuned FILE] [--json]

Absolute times, against limits in seconds: there is nothing to compare with.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import tvbank
from tools.bench._checkpoints import Checkpoints, compare
from tools.bench._measure import Row, in_turns

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


def rows(given: Checkpoints, folder: Path, arguments: argparse.Namespace) -> Iterator[Row]:
    bank, rounds = str(folder / "bank"), arguments.rounds
    tvbank.create(bank, base=given.base).add(
        "task", given.tuned[0], tvbank.TSwitch(), replace_mismatched=True
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
        command = [*python, _ADD, bank, str(given.tuned[0])]
        first = float(_output([*command, "0"], cache).split()[0])
        cached = [_output([*command, "3"], cache).split() for _ in range(rounds)]
    over = [float(line[0]) - statistics.median(map(float, line[1:])) for line in cached]
    yield _limit("first add, everything compiled from nothing", first, 15.0)
    yield _limit("first add, cached, over a warm one", statistics.median(over), 0.5)


def _limit(what: str, seconds: float, limit: float | None, note: str = "") -> Row:
    against = "a limit" if limit else "nothing"
    return Row(what, against, 1e3 * seconds, 1e3 * limit if limit else None,
               target=1.0 if limit else None, note=note)  # fmt: skip


def _seconds(command: list[str], rounds: int) -> float:
    return statistics.median(in_turns({"": lambda: _output(command)}, rounds)[""])


def _output(command: list[str], cache: str | None = None) -> str:
    environment = os.environ | ({"NUMBA_CACHE_DIR": cache} if cache else {})
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True,
        cwd=Path(tvbank.__file__).parents[1],
    ).stdout  # fmt: skip


if __name__ == "__main__":
    compare(__doc__, rows)
