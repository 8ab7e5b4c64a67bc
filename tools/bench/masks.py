"""Mask bytes of real fine-tunes, beside their entropy, other codes, and gaps with zstd.

    python -m tools.bench masks --base FILE --tuned FILE... [--drop 0.9] [--json]

Every mask is that of T-Switch. Mask bytes are given against the entropy of masks that are i.i.d. in
each unit; the whole bank (frames, indices and documents of one task) against one-byte gaps of all
units through zstd -19 with packed signs and a magnitude a unit, which is the same task.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

import tvbank
from tools.bench._checkpoints import pairs_of
from tools.bench._codes import Kept, best_zstd, gap_stream, shannon_mask
from tools.bench._measure import options, report
from tvbank.bank.encoder import row_length
from tvbank.coding import MASK_ENCODINGS, frame_sizes

CHUNK = 2**18


def measure(base, tuned, drop):
    """All figures for one fine-tune."""
    switch = tvbank.TSwitch(drop=drop)
    masks, kept = Counter(), []
    for name, (weights, end) in pairs_of(base, tuned).items():
        if weights.dtype.kind != "f":
            continue
        entries = switch.compress(name, weights, end)
        positions = np.flatnonzero(entries)
        if not len(positions):
            continue
        kept.append(Kept(weights.shape, positions, entries[positions]))
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
    entropy, signs = shannon_mask(kept), sum(len(unit.positions) for unit in kept)
    zstd = best_zstd([gap_stream(unit.positions) for unit in kept])
    generic = zstd + -(-signs // 8) + 4 * len(kept)
    with tempfile.TemporaryDirectory() as folder:
        bank = tvbank.create(Path(folder) / "bank", base=base)
        stored = bank.add("task", tuned, compressor=switch).stored_bytes
    ratios = {
        "blocks": masks["told"], "without a hint": masks["no hint"],
        "no blocks": masks["no blocks"], "gaps": masks["gaps"], "u8 gaps + zstd-19": zstd,
    }  # fmt: skip
    return {
        "task": tuned.stem,
        "drop": drop,
        "entropy": round(entropy),
        **{name: size / entropy for name, size in ratios.items()},
        "stored": stored,
        "generic": generic,
        "ratio": stored / generic,
    }


def main():
    parser = options(__doc__)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--tuned", type=Path, nargs="+", required=True)
    parser.add_argument("--drop", type=float, nargs="+", default=[0.9])
    arguments = parser.parse_args()
    rows = [
        measure(arguments.base, tuned, drop) for drop in arguments.drop for tuned in arguments.tuned
    ]
    report(arguments, {}, {"mask bytes / i.i.d. entropy; stored bytes / generic": rows})


if __name__ == "__main__":
    main()
