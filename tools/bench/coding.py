"""Bytes and speed of frames on i.i.d. masks with one magnitude, beside other ways to store them.

    python -m tools.bench coding [--json]

Sizes are exact and depend on nothing but the seed. Times are the best of many calls in this
process, each given as a multiple of copying the dense chunk: only ratios travel between machines.
"""

from __future__ import annotations

import functools

import numpy as np

from tools.bench._codes import Kept, best_zstd, gap_stream, grouped_coordinates, shannon_mask
from tools.bench._measure import best_seconds, options, report
from tvbank.coding import decode_frame, decode_sparse, encode_frame, read_header

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


def mask_speeds(chunk, **hint):
    """Bytes of the mask section, and million entries a second of the whole frame, by encoding."""
    found = {}
    for name in ("gaps", "blocks"):
        frame = encode_frame(chunk, mask=name, **hint)
        header = read_header(frame)
        seconds = best_seconds(functools.partial(decode_sparse, frame))
        found[name] = (header.mask_bytes, header.nonzeros / seconds / 1e6)
    return found


def measure(entries, density, seed):
    """Sizes, speed and mask encodings, for one density."""
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
    positions = np.flatnonzero(chunk)
    kept = [Kept((entries,), positions, chunk[positions])]
    limit, signs = shannon_mask(kept) + nonzeros / 8, -(-nonzeros // 8)
    sizes = {
        "density": density,
        "encoding": f"{header.mask} + {header.values}",
        "bits/param": 8 * len(frame) / entries,
        "limit": 8 * limit / entries,
        "ratio": len(frame) / limit,
        "beyond 1.03 limits + 32 bytes": "!" if len(frame) > 1.03 * limit + 32 else "",
        "frame": len(frame),
        "bitmap + signs": -(-entries // 8) + signs,
        "grouped COO, Eq. 17": grouped_coordinates(kept),
        "u8 gaps + zstd-19": best_zstd([gap_stream(positions)]) + signs,
    }
    speed = {"density": density, "copy, µs": 1e6 * copy}
    for name, seconds in times.items():
        speed |= {name: seconds / copy, f"{name}, M symbols/s": nonzeros / seconds / 1e6}
    masks: dict[str, object] = {"density": density}
    for kind, hint in ((one_magnitude, {}), (clustered, {"row": 384})):
        for name, (size, rate) in mask_speeds(kind(entries, density, seed), **hint).items():
            label = f"{name}, clustered" if hint else name
            masks |= {label: size, f"{label}, M entries/s": rate}
    return sizes, speed, masks


def main():
    parser = options(__doc__)
    parser.add_argument("--entries", type=int, default=1 << 18)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows = [measure(arguments.entries, density, arguments.seed) for density in DENSITIES]
    sizes, speed, masks = zip(*rows, strict=True)
    tables = {
        "bytes of chunks with one magnitude": sizes,
        "speed: one core, times of a copy of the chunk": speed,
        "frames by mask encoding: bytes of the mask, speed of reading entries": masks,
    }
    report(arguments, {"entries": arguments.entries, "seed": arguments.seed}, tables)


if __name__ == "__main__":
    main()
