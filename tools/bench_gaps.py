"""Mask bytes of real fine-tunes, beside their entropy, other codes, and gaps with zstd.

    python tools/bench_gaps.py --base FILE TUNED... [--drop 0.9] [--json]

Every mask is that of T-Switch. Mask bytes are given against the entropy of masks that are i.i.d. in
each unit; the whole bank (frames, indices and documents of one task) against one-byte gaps of all
units through zstd -19 with packed signs and a magnitude a unit, which is the same task.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from bench_coding import gap_bytes, mask_entropy_bytes
from numcodecs.zstd import Zstd
from rich.console import Console
from rich.table import Table
from safetensors.numpy import load_file

import tvbank
from tvbank.bank.encoder import row_length
from tvbank.coding import MASK_ENCODINGS, frame_sizes

CHUNK = 2**18


def measure(base, tuned, drop):
    """All figures for one fine-tune."""
    start, end = load_file(base), load_file(tuned)
    switch = tvbank.TSwitch(drop=drop)
    masks, streams = Counter(), []
    entropy = signs = units = 0
    for name, weights in start.items():
        if name not in end or end[name].shape != weights.shape or weights.dtype.kind != "f":
            continue
        entries = switch.compress(name, weights, end[name])
        nonzeros = np.count_nonzero(entries)
        if not nonzeros:
            continue
        entropy += mask_entropy_bytes(entries.size, nonzeros)
        streams.append(gap_bytes(entries))
        signs += nonzeros
        units += 1
        row = row_length(weights.shape)
        for first in range(0, entries.size, CHUNK):
            chunk = entries[first : first + CHUNK]
            told = frame_sizes(chunk, row=row, phase=first % row if row else 0).masks
            blind = frame_sizes(chunk).masks
            older = {each: told[each] for each in MASK_ENCODINGS if each != "blocks"}
            for kind, sizes in (("told", told), ("no hint", blind), ("no blocks", older)):
                masks[kind] += min(size for size in sizes.values() if size is not None)
            if told["gaps"] is not None:
                masks["gaps"] += told["gaps"]
    level = Zstd(level=19)
    apart = sum(len(level.encode(stream)) for stream in streams)
    zstd = min(apart, len(level.encode(np.concatenate(streams))))
    generic = zstd + -(-signs // 8) + 4 * units
    with tempfile.TemporaryDirectory() as folder:
        bank = tvbank.create(Path(folder) / "bank", base=base)
        stored = bank.add("task", tuned, compressor=switch).stored_bytes
    return {
        "task": tuned.stem,
        "drop": drop,
        "entropy_bytes": round(entropy),
        "mask_to_entropy": {name: size / entropy for name, size in masks.items()},
        "zstd_mask_to_entropy": zstd / entropy,
        "generic_bytes": generic,
        "stored_bytes": stored,
        "stored_to_generic": stored / generic,
    }


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("tuned", type=Path, nargs="+")
    parser.add_argument("--drop", type=float, action="append")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [
        measure(options.base, tuned, drop)
        for drop in options.drop or [0.9]
        for tuned in options.tuned
    ]
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    table = Table(title="Mask bytes / i.i.d. entropy; stored bytes / generic", title_justify="left")
    for name in ("task", "drop", "blocks", "without a hint", "no blocks", "gaps",
                 "u8 gaps + zstd-19", "stored", "generic", "ratio"):  # fmt: skip
        table.add_column(name, justify="right")
    for row in rows:
        masks = row["mask_to_entropy"]
        shares = [masks[kind] for kind in ("told", "no hint", "no blocks", "gaps")]
        table.add_row(
            row["task"],
            f"{row['drop']}",
            *(f"{share:.4f}" for share in (*shares, row["zstd_mask_to_entropy"])),
            f"{row['stored_bytes']:,}",
            f"{row['generic_bytes']:,}",
            f"{row['stored_to_generic']:.4f}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
