"""Decoding where numba cannot be imported: all vectors, then its time beside compiled loops.

Frames, banks and their damaged forms are compared with what the vectors say, by the tests of
``tests/conformance``; what these would encode is left out, for which numba is needed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from tools import ROOT
from tools.release.reads import block

#: Tests of vectors that decode only.
TESTS = (
    "tests/conformance/test_fast_vectors.py::test_valid_frame",
    "tests/conformance/test_fast_vectors.py::test_invalid_frame",
    "tests/conformance/test_fast_banks.py",
)
#: Tests on chance input: every one of them is compared with the reference decoder.
CHANCE = "tests/conformance/test_fast_vectors.py::test_decoders_agree_on_damaged_frames"
_COMPRESSORS = ("budget", "tswitch", "exact")
_SIDE = 512


def block_numba() -> None:
    """Make numba unknown to this process."""
    for package in ("numba", "llvmlite"):
        block(package)


def _write(folder: Path) -> None:
    import tvbank

    rng = np.random.default_rng(0)
    base = (0.05 * rng.standard_normal((_SIDE, _SIDE))).astype(np.float32)
    change = 1e-3 * rng.standard_normal((_SIDE, _SIDE)) * rng.random((_SIDE, _SIDE)) ** 3
    bank = tvbank.create(str(folder / "bank"), base={"w": base})
    compressors = tvbank.Budget(), tvbank.TSwitch(), tvbank.Exact(standalone=True)
    for name, compressor in zip(_COMPRESSORS, compressors, strict=True):
        bank.add(name, {"w": base + change.astype(np.float32)}, compressor=compressor)


def _read(folder: Path, rounds: int) -> dict[str, tuple[int, float, str]]:
    """Of each task: entries, least CPU seconds to decode them, digest."""
    import tvbank

    bank = tvbank.open(str(folder / "bank"))
    found = {}
    for name in _COMPRESSORS:
        least = float("inf")
        for _ in range(rounds):
            began = time.process_time()
            positions, values = bank[name]["w"].to_sparse()
            least = min(least, time.process_time() - began)
        digest = hashlib.sha256(positions.tobytes() + values.tobytes()).hexdigest()
        found[name] = len(positions), least, digest
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chance", action="store_true", help="damaged frames by chance, too")
    parser.add_argument("--child", choices=["vectors", "read"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        block_numba()
        warnings.filterwarnings("ignore", "numba is not installed")
    if asked.child == "vectors":
        import pytest

        tests = [*TESTS, CHANCE] if asked.chance else TESTS
        quiet = ["-q", "-n", "0", "-W", "ignore:numba is not installed"]
        sys.exit(pytest.main([*quiet, *(str(ROOT / test) for test in tests)]))
    if asked.child == "read":
        print(json.dumps(_read(asked.folder, 1)))
        return
    with tempfile.TemporaryDirectory() as folder:
        child = [sys.executable, "-m", "tools.release.plain", "--folder", folder, "--child"]
        _write(Path(folder))
        fast = _read(Path(folder), 5)
        done = subprocess.run([*child, "read"], check=True, cwd=ROOT, stdout=subprocess.PIPE)
        for name, (entries, seconds, digest) in json.loads(done.stdout).items():
            if digest != fast[name][2]:
                sys.exit(f"{name}: without numba other numbers were decoded")
            times, each = seconds / fast[name][1], 1e6 * seconds / entries
            print(f"{name:8} {entries:8,} entries: {each:5.1f} us each, {times:6.0f} times as slow")
        more = ["--chance"] if asked.chance else []
        sys.exit(subprocess.run([*child, "vectors", *more], cwd=ROOT).returncode)


if __name__ == "__main__":
    main()
