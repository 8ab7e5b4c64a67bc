"""The command line: every target in a process of its own, and what came of it."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tools.fuzz import TARGETS

_ROOT = Path(__file__).resolve().parents[2]
#: An input that takes longer is a hang; a process that grows beyond this has lost its bounds.
_SECONDS, _MEGABYTES = 30, 1500
#: Seconds of one process: atheris's hooks of comparisons leak up to 5 MB a second, and a process
#: that has leaked 1500 MB could not be told from one whose input made it large.
_SLICE = 240


class Result(NamedTuple):
    """What came of a target: ``coverage`` is of edges; ``inputs`` that together reach them."""

    target: str
    seconds: float
    executions: int
    coverage: int
    inputs: int
    megabytes: int
    crash: str | None


class Limits(NamedTuple):
    """How long a target runs: ``seconds``, or ``runs`` inputs if these come first.

    ``seed`` makes the inputs those of every other run with that seed.
    """

    seconds: int
    runs: int | None = None
    seed: int | None = None


def fuzz(name: str, limits: Limits, corpus: Path, crashes: Path) -> Result:
    """Run one target in processes of a few minutes, each from what the ones before found.

    The arguments are those of ``_run``.
    """
    total = _run(name, limits._replace(seconds=min(limits.seconds, _SLICE)), corpus, crashes)
    while not total.crash and limits.runs is None and total.seconds < limits.seconds:
        left = max(1, round(limits.seconds - total.seconds))
        more = _run(name, limits._replace(seconds=min(left, _SLICE)), corpus, crashes)
        total = more._replace(
            seconds=total.seconds + more.seconds,
            executions=total.executions + more.executions,
            megabytes=max(total.megabytes, more.megabytes),
        )
    return total


def _run(name: str, limits: Limits, corpus: Path, crashes: Path) -> Result:
    """One process; its output goes through if it fails.

    Args:
        name: of ``TARGETS``.
        limits: its seconds count after a start of some seconds.
        corpus: a folder, of inputs that are kept and begun with.
        crashes: a folder for the input that a crash came of.
    """
    flags = [
        f"-max_total_time={limits.seconds}", f"-timeout={_SECONDS}", f"-rss_limit_mb={_MEGABYTES}",
        f"-artifact_prefix={crashes / name}-", "-print_final_stats=1", f"-runs={limits.runs or -1}",
        f"-seed={limits.seed or 0}",
    ]  # fmt: skip
    settings = {"NUMBA_DISABLE_JIT": "1"} if TARGETS[name].interpreted else {}
    if limits.seed is not None:
        settings["PYTHONHASHSEED"] = str(limits.seed)
    command = [sys.executable, "-m", "tools.fuzz._child", name, str(corpus / name), *flags]
    ran = subprocess.run(
        command,
        cwd=_ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        errors="replace",
    )
    output = ran.stderr
    found = re.findall(r"^#(\d+)\s+\w+\s+cov: (\d+) ft: \d+ corp: (\d+)/\S+ .*$", output, re.M)
    written = re.findall(r"Test unit written to (\S+)", output)
    crash = None
    if ran.returncode:
        crash = written[-1] if written else f"exit status {ran.returncode}"
        print(output[-8000:], file=sys.stderr)
    executed, coverage, inputs = found[-1] if found else ("0", "0", "0")
    number = re.search(r"stat::number_of_executed_units: (\d+)", output)
    peak = re.search(r"stat::peak_rss_mb:\s+(\d+)", output)
    took = re.search(r"Done \d+ runs in (\d+) second", output)
    return Result(
        name, float(took[1]) if took else limits.seconds, int(number[1] if number else executed),
        int(coverage), int(inputs), int(peak[1]) if peak else 0, crash,
    )  # fmt: skip


def _table(results: list[Result]) -> str:
    rows = [("target", "seconds", "executions", "edges", "inputs", "peak MB", "crash")]
    rows += [
        (each.target, f"{each.seconds:.0f}", f"{each.executions:,}", str(each.coverage),
         str(each.inputs), str(each.megabytes), each.crash or "none")
        for each in results
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="shared out among the targets")
    parser.add_argument("--runs", type=int, help="stop each target after so many inputs")
    parser.add_argument("--seed", type=int, help="the same inputs at every run")
    parser.add_argument("--corpus", type=Path, help="folder of inputs to begin with and to keep")
    parser.add_argument("--crashes", type=Path, default=Path(), help="folder for crashing inputs")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    unknown = set(arguments.targets) - set(TARGETS)
    if unknown:
        parser.error(f"unknown target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    names = arguments.targets or list(TARGETS)
    seconds = max(1, arguments.seconds // len(names))
    with tempfile.TemporaryDirectory() as temporary:
        corpus = arguments.corpus or Path(temporary)
        crashes = arguments.crashes.resolve()
        crashes.mkdir(parents=True, exist_ok=True)
        limits = Limits(seconds, arguments.runs, arguments.seed)
        results = [fuzz(name, limits, corpus, crashes) for name in names]
    if arguments.json:
        print(json.dumps([each._asdict() for each in results], indent=1))
    else:
        print(_table(results))
    return 1 if any(each.crash for each in results) else 0


if __name__ == "__main__":
    sys.exit(main())
