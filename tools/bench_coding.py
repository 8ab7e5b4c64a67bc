"""Bytes and speed of frames on i.i.d. masks with one magnitude, beside other ways to store them.

    python tools/bench_coding.py            a table
    python tools/bench_coding.py --json     the same figures for a program

Sizes are exact and depend on nothing but the seed. Times are the best of many calls in this
process, each given as a multiple of copying the dense chunk: only ratios travel between machines.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import sys
import time

import numpy as np
from _machine import machine
from numcodecs.zstd import Zstd
from rich.console import Console
from rich.table import Table

from tvbank.coding import (
    HEADER_BYTES,
    MASK_ENCODINGS,
    decode_frame,
    decode_sparse,
    encode_frame,
    read_header,
)
from tvbank.coding.masks import MASKS

DENSITIES = (0.001, 0.01, 0.05, 0.1, 0.3, 0.5)
MAGNITUDE = np.float32(0.0123)


def one_magnitude(entries, density, seed):
    """A chunk whose entries are 0 or, with the given density, plus or minus one magnitude."""
    random = np.random.default_rng(seed)
    signs = np.where(random.random(entries) < 0.5, -MAGNITUDE, MAGNITUDE)
    return np.where(random.random(entries) < density, signs, np.float32(0))


def clustered(entries, density, seed, row=384):
    """A chunk like a real mask: some rows and columns of a matrix are far denser than others."""
    random = np.random.default_rng(seed)
    shares = random.gamma(1.5, size=(-(-entries // row), 1)) * random.gamma(1.5, size=row)
    shares *= density / shares.mean()
    signs = np.where(random.random(entries) < 0.5, -MAGNITUDE, MAGNITUDE)
    drawn = random.random(entries) < shares.reshape(-1)[:entries]
    return np.where(drawn, signs, np.float32(0))


def mask_entropy_bytes(entries, nonzeros):
    """n·H(p) bits: the entropy of an i.i.d. mask."""
    if nonzeros == entries:
        return 0.0
    p = nonzeros / entries
    return entries * (-p * math.log2(p) - (1 - p) * math.log2(1 - p)) / 8


def shannon_bytes(entries, nonzeros):
    """n·(H(p) + p) bits: the mask's entropy, and a sign for each non-zero."""
    return mask_entropy_bytes(entries, nonzeros) + nonzeros / 8


def bitmap_bytes(entries, nonzeros):
    """A bit an entry, and a packed sign for each non-zero."""
    return -(-entries // 8) + -(-nonzeros // 8)


def grouped_coordinates_bytes(entries, nonzeros):
    """[F] Eq. 16 with one value bit and the group size of Eq. 17; c must divide n."""
    ideal = math.log(2) * entries / nonzeros
    divisors = (c for c in range(1, entries + 1) if entries % c == 0)
    size = min(divisors, key=lambda c: abs(ideal - c))
    bits = 35 + entries // size + nonzeros * (math.ceil(math.log2(size)) + 1 + 1)
    return -(-bits // 8)


def gap_bytes(chunk):
    """One byte a gap, 255 for 255 more zeros."""
    positions = np.flatnonzero(chunk)
    gaps = np.diff(positions, prepend=-1) - 1
    whole, rest = np.divmod(gaps, 255)
    stream = np.full(whole.sum() + gaps.size, 255, np.uint8)
    stream[np.cumsum(whole + 1) - 1] = rest
    return stream


def gaps_and_zstd_bytes(chunk):
    """One byte a gap, all of it through zstd -19; and packed signs."""
    return len(Zstd(level=19).encode(gap_bytes(chunk))) + -(-np.count_nonzero(chunk) // 8)


def best_seconds(function, seconds=0.3):
    """The shortest time of a call, of as many as fit into some seconds."""
    function()
    best, stop = math.inf, time.perf_counter() + seconds
    while (start := time.perf_counter()) < stop:
        function()
        best = min(best, time.perf_counter() - start)
    return best


def mask_speeds(chunk, **hint):
    """Bytes, and million positions a second, of decoding the mask section alone, by encoding."""
    found = {}
    for name in ("gaps", "blocks"):
        frame = encode_frame(chunk, mask=name, **hint)
        header = read_header(frame)
        section = memoryview(frame)[HEADER_BYTES : HEADER_BYTES + header.mask_bytes]
        encoding = MASKS[MASK_ENCODINGS.index(name)]
        seconds = best_seconds(functools.partial(encoding.decode, section, header))
        found[name] = (header.mask_bytes, header.nonzeros / seconds / 1e6)
    return found


def measure(entries, density, seed):
    """All figures for one density."""
    chunk = one_magnitude(entries, density, seed)
    frame = encode_frame(chunk)
    assert decode_frame(frame).tobytes() == chunk.tobytes()
    header = read_header(frame)
    nonzeros = header.nonzeros
    target = np.empty_like(chunk)
    copy = best_seconds(lambda: np.copyto(target, chunk))
    times = {
        "encode": best_seconds(lambda: encode_frame(chunk)),
        "decode": best_seconds(lambda: decode_frame(frame)),
        "decode_sparse": best_seconds(lambda: decode_sparse(frame)),
    }
    limit = shannon_bytes(entries, nonzeros)
    return {
        "density": density,
        "nonzeros": nonzeros,
        "mask": header.mask,
        "values": header.values,
        "frame_bytes": len(frame),
        "bits_per_parameter": 8 * len(frame) / entries,
        "limit_bits_per_parameter": 8 * limit / entries,
        "ratio_to_limit": len(frame) / limit,
        "within_3_percent_and_32_bytes": len(frame) <= 1.03 * limit + 32,
        "bitmap_bytes": bitmap_bytes(entries, nonzeros),
        "grouped_coordinates_bytes": grouped_coordinates_bytes(entries, nonzeros),
        "gaps_zstd_bytes": gaps_and_zstd_bytes(chunk),
        "masks": mask_speeds(chunk),
        "clustered_masks": mask_speeds(clustered(entries, density, seed), row=384),
        "copy_seconds": copy,
        "times_of_copy": {name: seconds / copy for name, seconds in times.items()},
        "symbols_per_second": {name: nonzeros / seconds for name, seconds in times.items()},
    }


def show(report):
    """Print two tables: bytes, and speed."""
    console = Console(width=120)
    console.print(", ".join(f"{name} {value}" for name, value in report["machine"].items()))
    title = f"chunks of {report['entries']:,} entries, one magnitude"
    sizes = Table(title=f"Bytes: {title}", title_justify="left")
    speed = Table(title="Speed: one core, times of a copy of the chunk", title_justify="left")
    for name in ("density", "encoding", "bits/param", "limit", "ratio", "frame", "bitmap + signs",
                 "grouped COO, Eq. 17", "u8 gaps + zstd-19"):  # fmt: skip
        sizes.add_column(name, justify="right")
    for name in ("density", "copy µs", "encode", "M symbols/s", "decode", "M symbols/s",
                 "decode sparse", "M symbols/s"):  # fmt: skip
        speed.add_column(name, justify="right")
    for row in report["rows"]:
        density = f"{row['density']:.1%}"
        mark = "" if row["within_3_percent_and_32_bytes"] else " !"
        sizes.add_row(
            density,
            f"{row['mask']} + {row['values']}",
            f"{row['bits_per_parameter']:.4f}",
            f"{row['limit_bits_per_parameter']:.4f}",
            f"{row['ratio_to_limit']:.4f}{mark}",
            f"{row['frame_bytes']:,}",
            f"{row['bitmap_bytes']:,}",
            f"{row['grouped_coordinates_bytes']:,}",
            f"{row['gaps_zstd_bytes']:,}",
        )
        cells = [density, f"{row['copy_seconds'] * 1e6:.0f}"]
        for name, times in row["times_of_copy"].items():
            cells += [f"{times:.1f}", f"{row['symbols_per_second'][name] / 1e6:.0f}"]
        speed.add_row(*cells)
    console.print(sizes)
    console.print("'!' marks a frame beyond 1.03 times the limit plus 32 bytes.")
    console.print(speed)
    masks = Table(title="Mask sections alone: bytes, M positions/s", title_justify="left")
    for name in ("density", "gaps", "M/s", "blocks", "M/s", "clustered: gaps", "M/s", "blocks",
                 "M/s"):  # fmt: skip
        masks.add_column(name, justify="right")
    for row in report["rows"]:
        cells = [f"{row['density']:.1%}"]
        for kind in ("masks", "clustered_masks"):
            for size, speed_of in row[kind].values():
                cells += [f"{size:,}", f"{speed_of:.0f}"]
        masks.add_row(*cells)
    console.print(masks)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=1 << 18)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = {
        "machine": machine(),
        "entries": options.entries,
        "seed": options.seed,
        "rows": [measure(options.entries, density, options.seed) for density in DENSITIES],
    }
    if options.json:
        json.dump(report, sys.stdout, indent=1)
        print()
    else:
        show(report)


if __name__ == "__main__":
    main()
