"""Some ways in a process of their own, by turns; what they restore is compared.

python -m tools.bench.updates._child OLD NEW ROUNDS WAY...
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

from tools.bench._measure import timed
from tools.bench.updates._ours import Alone, Update
from tools.bench.updates._peers import Arc, Moonclip, Reminis, Z4ai, Zipnn
from tools.bench.updates._simple import Planes, Sparse, Xor, Xor19
from tools.bench.updates._way import THREADS, CannotError, Way

WAYS: dict[str, type[Way]] = {
    way.__name__.lower(): way
    for way in (Update, Alone, Xor, Xor19, Planes, Arc, Reminis, Zipnn, Z4ai, Moonclip, Sparse)
}


def measure(old: Path, new: Path, rounds: int, names: list[str]) -> dict[str, dict[str, object]]:
    """Bytes, least seconds, by the clock and of all cores, and megabytes of memory, by way."""
    found: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory(prefix="tvbank-updates-") as folder, patch("os.fsync"):
        ways: dict[str, Way] = {}
        for name in names:
            (place := Path(folder) / name).mkdir()
            ways[name] = WAYS[name](old, new, place)
            try:
                ways[name].prepare()
            except (ImportError, CannotError) as error:
                del ways[name]
                found[name] = {"note": f"left out: {error}"}
        for _ in range(rounds):
            for name, way in ways.items():
                row = found.setdefault(name, {})
                for what, job in (("encode", way.encode), ("restore", way.restore)):
                    seconds, cpu, megabytes, result = _watched(job)
                    row["bytes"] = row.get("bytes", result)
                    row[f"{what}, s"] = min(seconds, row.get(f"{what}, s", seconds))
                    row[f"{what}, CPU s"] = min(cpu, row.get(f"{what}, CPU s", cpu))
                    row[f"{what}, MB"] = max(megabytes, row.get(f"{what}, MB", 0))
        for name, way in ways.items():
            found[name]["ratio"] = found[name]["bytes"] / old.stat().st_size
            _compare(name, way.restored(), new)
    return found


def _watched(job: Callable[[], object]) -> tuple[float, float, float, object]:
    """Seconds, those of all cores, the megabytes by which the process grew, and the result."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak is the present from here on
    before, cpu = _memory("VmRSS"), time.process_time()
    seconds, result = timed(job)
    return seconds, time.process_time() - cpu, max(0.0, _memory("VmHWM") - before), result


def _memory(which: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(which))


def _compare(name: str, restored: Path, new: Path) -> None:
    """Whether every tensor came back, in whatever order."""
    from safetensors.torch import load_file

    made, expected = load_file(restored), load_file(new)
    assert made.keys() == expected.keys(), name
    for tensor, values in expected.items():
        assert _raw(made[tensor]) == _raw(values), f"{name}: {tensor} came back otherwise"


def _raw(tensor) -> bytes:
    import torch

    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


if __name__ == "__main__":
    with suppress(AttributeError, OSError):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    old, new, rounds, *names = sys.argv[1:]
    print(json.dumps(measure(Path(old), Path(new), int(rounds), names)))
