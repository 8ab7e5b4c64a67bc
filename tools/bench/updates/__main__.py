"""Updates of a training run: bytes as exact tasks, alone and given the base, against XOR + zstd."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from numcodecs.zstd import Zstd

import tvbank
from tools.bench.updates._gemma import PAIRS, build
from tvbank.checkpoint import open_checkpoint
from tvbank.storage import MemoryStorage


def measure(old: Path, new: Path) -> dict[str, float]:
    """Bytes of a pair, and seconds of ``add``; what is stored is read back and compared.

    Args:
        old: a checkpoint.
        new: the same after some updates.
    """
    row: dict[str, float] = {"xor + zstd-1": xored(old, new)}
    for name, standalone in (("alone", True), ("given the base", False)):
        bank = tvbank.create(MemoryStorage(), old)
        begun = time.perf_counter()
        task = bank.add("new", new, tvbank.Exact(standalone=standalone))
        row[f"{name}, seconds"] = time.perf_counter() - begun
        row[name] = task.stored_bytes
        parameters = sum(unit.size for unit in bank.layout.units)
        row["changed"] = task.nonzeros / parameters
        assert bank.verify(base=old) == []
        restored = bank.state_dict("new", base=old)
        with open_checkpoint(new) as checkpoint:
            for spec in checkpoint.tensors:
                now = open_checkpoint({spec: restored[spec]}).read(spec)
                assert now.tobytes() == checkpoint.read(spec).tobytes(), spec
    return row


def xored(old: Path, new: Path) -> int:
    """Bytes of the difference of raw bytes, zstd-1, a tensor at a time."""
    codec, total = Zstd(1), 0
    with open_checkpoint(old) as before, open_checkpoint(new) as after:
        for name in after.tensors:
            start, end = (
                np.ascontiguousarray(each.read(name)).reshape(-1).view(np.uint8)
                for each in (before, after)
            )
            total += len(codec.encode(start ^ end))
    return total


def main() -> None:
    parser = argparse.ArgumentParser("python -m tools.bench updates", description=__doc__)
    parser.add_argument("--build", type=Path, metavar="FOLDER", help="make the Gemma pairs there")
    parser.add_argument("--pairs", type=Path, metavar="FOLDER", help="where they are")
    parser.add_argument("--pair", type=Path, nargs=2, metavar=("OLD", "NEW"), help="two files")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.build:
        build(arguments.build)
    pairs = [arguments.pair] if arguments.pair else []
    if folder := arguments.pairs or arguments.build:
        pairs += [[folder / f"{name}.safetensors" for name in pair] for pair in PAIRS]
    if not pairs:
        sys.exit("give --build, --pairs or --pair")
    rows = {f"{old.stem} to {new.stem}": measure(old, new) for old, new in pairs}
    if arguments.json:
        print(json.dumps(rows))
        return
    for name, row in rows.items():
        print(name, ", ".join(f"{key} {value:.4g}" for key, value in row.items()))


if __name__ == "__main__":
    main()
