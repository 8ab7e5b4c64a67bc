"""The memory of every verb on a synthetic bf16 pair of 3 billion parameters.

    python tools/prove_memory.py [--parameters 3e9] [--folder DIR] [--json]

Writes two files of 6 GB each with the shapes of a Llama model, unit by unit (an embedding of
128,256 rows is the largest), and beside them what the verbs make: 30 GB at most, all of which it
removes. Every verb runs in a process of its own, whose private memory the kernel limits to 2 GB,
and is watched: its peak of memory beside the page cache, and its time against reading both files
once, from start to end, just before it. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from _large_pair import make_pair, shapes
from _machine import machine
from _watched import Watched, watch

from tvbank.checkpoint import open_checkpoint

LIMIT = 2_000_000_000
_VERB = "from tvbank.cli import main; main()"
#: Of the size of one file: both, one output, exact task in the bank and once more on its way.
_ROOM = 5


def read_once(*files: Path) -> float:
    """Seconds to read files from start to end."""
    start = time.perf_counter()
    buffer = bytearray(2**24)
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return time.perf_counter() - start


def forget(*files: Path) -> None:
    """Write files to the disk and drop their pages from the page cache."""
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def same_weights(one: Path, other: Path) -> bool:
    """Whether two checkpoints hold the same units, bit for bit."""
    with open_checkpoint(one) as first, open_checkpoint(other) as second:
        return dict(first.tensors) == dict(second.tensors) and all(
            np.array_equal(*(each.read(name).view(np.uint16) for each in (first, second)))
            for name in first.tensors
        )


def run(folder: Path, base: Path, tuned: Path) -> Iterator[tuple[str, Watched, float]]:
    """Each verb, what it took, and the seconds of reading both files just before."""
    bank, out = str(folder / "bank"), folder / "out.safetensors"
    verbs = {
        "init": ["init", bank, "--base", str(base)],
        "add, T-Switch drop 0.9": ["add", bank, "switched", str(tuned), "--drop", "0.9"],
        "add, Exact": ["add", bank, "exact", str(tuned), "--method", "exact"],
        "export, T-Switch": ["export", bank, "switched", "-o", str(out)],
        "merge, both": ["merge", bank, "switched=0.5", "exact=0.5", "-o", str(out), "--force"],
        "export, Exact": ["export", bank, "exact", "-o", str(out), "--force"],
        "verify": ["verify", bank],
    }
    environment = {"TMPDIR": str(folder)}
    for name, arguments in verbs.items():
        reading = read_once(base, tuned)
        command = [sys.executable, "-c", _VERB, *arguments]
        yield name, watch(command, environment, LIMIT), reading
        if name == "export, Exact" and not same_weights(out, tuned):
            raise SystemExit("the exported exact task is not the fine-tune bit for bit")


def measure(parameters: int, folder: Path) -> dict[str, object]:
    """All figures; whatever is written goes away again."""
    size = 2 * sum(int(np.prod(shape)) for shape in shapes(parameters).values())
    if (free := shutil.disk_usage(folder).free) < _ROOM * size:
        raise SystemExit(
            f"{folder} has {free / 1e9:.0f} GB free, this takes {_ROOM * size / 1e9:.0f}"
        )
    with tempfile.TemporaryDirectory(dir=folder, prefix="tvbank-memory-") as name:
        inner = Path(name)
        base, tuned = inner / "base.safetensors", inner / "tuned.safetensors"
        start = time.perf_counter()
        specs = make_pair(parameters, base, tuned)
        written = time.perf_counter() - start
        forget(base, tuned)
        from_disk = read_once(base, tuned)
        rows = []
        for verb, took, reading in run(inner, base, tuned):
            rows.append({"verb": verb, **vars(took), "reading_seconds": reading})
            print(f"{verb} done", file=sys.stderr)
        stored = sum(path.stat().st_size for path in (inner / "bank").rglob("*") if path.is_file())
    return {
        "machine": machine(),
        "parameters": sum(spec.size for spec in specs),
        "units": len(specs),
        "largest_unit_bytes": max(spec.nbytes for spec in specs),
        "bytes_of_both_files": 2 * size,
        "bytes_of_the_bank": stored,
        "seconds_to_make_both_files": written,
        "seconds_to_read_both_files_from_disk": from_disk,
        "limit": LIMIT,
        "rows": rows,
    }


def show(report: dict) -> None:
    """Print the figures as a table."""
    print(report["machine"])
    print(
        f"{report['parameters']:,} parameters in {report['units']} units, the largest of "
        f"{report['largest_unit_bytes'] / 1e9:.2f} GB;\nboth files "
        f"{report['bytes_of_both_files'] / 1e9:.1f} GB, the bank "
        f"{report['bytes_of_the_bank'] / 1e9:.2f} GB. Private memory was limited to "
        f"{report['limit'] / 1e9:.1f} GB by the kernel.\nReading both files from the disk took "
        f"{report['seconds_to_read_both_files_from_disk']:.1f} s; below, from the page cache."
    )
    print(f"{'':<24}{'peak beside':>13}{'peak with':>12}{'':>10}{'':>10}{'reading':>10}")
    print(
        f"{'verb':<24}{'page cache':>13}{'page cache':>12}{'time':>10}{'CPU time':>10}"
        f"{'both':>10}{'ratio':>8}"
    )
    for row in report["rows"]:
        print(
            f"{row['verb']:<24}{row['anonymous'] / 1e9:>10.2f} GB{row['resident'] / 1e9:>9.2f} GB"
            f"{row['seconds']:>8.1f} s{row['cpu_seconds']:>8.1f} s{row['reading_seconds']:>8.1f} s"
            f"{row['seconds'] / row['reading_seconds']:>8.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parameters", type=lambda text: int(float(text)), default=3_000_000_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    report = measure(arguments.parameters, arguments.folder)
    if arguments.json:
        print(json.dumps(report, indent=1))
    else:
        show(report)
    if any(row["anonymous"] >= LIMIT for row in report["rows"]):
        raise SystemExit("a verb went over the limit")


if __name__ == "__main__":
    main()
