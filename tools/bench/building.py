"""How fast ``tvbank build`` fills a bank, beside a loop of ``add`` in one process.

    python -m tools.bench building --base FILE --tuned FILE... [--workers 2] [--method exact]

Both make the same bank, byte for byte, which is checked. ``add`` works on all cores, too, so on one
machine the ratio tells what is gained by reading and checking the base once a worker instead of
once a task, by never waiting for a publish, and lost by starting processes and handing frames on;
``started`` is with the start of the workers, ``running`` without it. Over a network, or with
several machines (``--scheduler``), the workers' number counts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import tvbank
from tools.bench._measure import options, report, timed
from tvbank.bank.snapshot import read_root
from tvbank.compress import compressor_named


def names_of(files: list[Path]) -> dict[str, Path]:
    """A task for each file: its folder's name where files are called alike, and a number."""
    return {f"{number:03d}-{path.parent.name}": path for number, path in enumerate(files)}


def loop(base: Path, tuned: dict[str, Path], method: str, place: Path) -> float:
    """Seconds of adding one task after the other."""
    bank = tvbank.create(place, base)
    compressor = compressor_named(method, budget="1 %" if method == "budget" else None)
    return timed(lambda: [bank.add(name, path, compressor) for name, path in tuned.items()])[0]


def built(
    tuned: dict[str, Path], place: Path, arguments: argparse.Namespace
) -> tuple[float, float, int]:
    """Seconds of building, seconds from the first unit to the end, and the number of units."""
    base, method = arguments.base, arguments.method
    tvbank.create(place, base)
    task = {"method": method} | ({"budget": "1 %"} if method == "budget" else {})
    manifest = {
        "bank": str(place),
        "base": str(base),
        "tasks": {name: {"checkpoint": str(path)} | task for name, path in tuned.items()},
    }
    started = _Started()
    start = time.perf_counter()
    scheduler = arguments.scheduler
    spread = {"scheduler": scheduler} if scheduler else {"workers": arguments.workers}
    done = tvbank.build(manifest, progress=started, **spread)
    end = time.perf_counter()
    if done.failed:
        raise SystemExit(f"failed: {done.failed}")
    return end - start, end - started.at, done.units


class _Started:
    """A ``Progress`` that notes when the first units are known."""

    at = 0.0

    def report(
        self, stage: str, done: int, total: int, unit: str = "bytes", detail: object = ""
    ) -> None:
        if stage == "units" and total and not self.at:
            self.at = time.perf_counter()


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures; the best of the repeats of each."""
    tuned = names_of(arguments.tuned)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        loop(arguments.base, dict(list(tuned.items())[:1]), arguments.method, folder / "warm")
        loops, builds = [], []
        for number in range(arguments.repeats):
            one, many = folder / f"loop{number}", folder / f"build{number}"
            builds.append(built(tuned, many, arguments))
            loops.append(loop(arguments.base, tuned, arguments.method, one))
            if (
                read_root(tvbank.open(one).storage)[0].tasks
                != read_root(tvbank.open(many).storage)[0].tasks
            ):
                raise SystemExit("the two banks differ")
    seconds, running, units = min(builds)
    size = sum(path.stat().st_size for path in tuned.values())
    return {
        "method": arguments.method,
        "tasks": len(tuned),
        "units": units,
        "workers": arguments.scheduler or arguments.workers,
        "loop of add, s": min(loops),
        "build started, s": seconds,
        "build running, s": running,
        "build, MB of fine-tunes a second": size / seconds / 1e6,
        "ratio started": min(loops) / seconds,
        "ratio running": min(loops) / running,
    }


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--tuned", type=Path, nargs="+", required=True)
    parser.add_argument("--method", default="tswitch", choices=["tswitch", "exact", "budget"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scheduler", help="workers of a dask.distributed scheduler instead")
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    report(arguments, measure(arguments), {})


if __name__ == "__main__":
    main()
