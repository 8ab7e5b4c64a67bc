"""The command: ``python -m tools.vectors [--check]``.

Deterministic: the same files on every machine. ``--check`` writes nothing and fails if a committed
file is not what this script makes, or is none of its files. Vectors are part of the format: a
change of their bytes needs a change of the spec (spec/README.md, "Changing the format").
"""

from __future__ import annotations

import argparse
import hashlib
import json
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from tools.vectors.banks.valid import bank_vectors
from tools.vectors.frames.encoder import MASKS, VALUES
from tools.vectors.frames.invalid import InvalidFrame, invalid_frames
from tools.vectors.frames.valid import ValidFrame, valid_frames

VECTORS = Path(__file__).resolve().parents[2] / "spec" / "vectors"
LISTED = 64  # chunks with more non-zeros are told by the digest of their dense bytes
GENERATED = ("frames", "banks")

Files = dict[str, bytes]


def frame_vectors() -> Files:
    files: Files = {}
    valid, invalid = [], []
    for vector in valid_frames():
        files[f"frames/valid/{vector.name}.bin"] = vector.data
        valid.append(_valid_entry(vector))
    for fault in invalid_frames():
        files[f"frames/invalid/{fault.name}.bin"] = fault.data
        invalid.append(_invalid_entry(fault))
    made = "tools/vectors, from chunks by the slow encoder in frames/encoder.py"
    files["frames/valid/index.json"] = index(made, valid)
    made = "tools/vectors, put together by hand in frames/invalid.py"
    files["frames/invalid/index.json"] = index(made, invalid)
    return files


def _valid_entry(vector: ValidFrame) -> dict[str, object]:
    entry: dict[str, object] = {
        "name": vector.name,
        "why": vector.why,
        "mask": MASKS[vector.data[2]],
        "value": VALUES[vector.data[3]],
        "element": vector.element,
        "entries": vector.entries,
        "nonzeros": len(vector.chunk),
    }
    if len(vector.chunk) <= LISTED:
        entry["positions"] = sorted(vector.chunk)
        entry["patterns"] = [f"{vector.chunk[position]:08x}" for position in sorted(vector.chunk)]
    else:
        patterns = [vector.chunk.get(position, 0) for position in range(vector.entries)]
        dense = struct.pack(f"<{vector.entries}I", *patterns)
        entry["dense_sha256"] = hashlib.sha256(dense).hexdigest()
    return entry | _base(vector)


def _base(vector: ValidFrame | InvalidFrame) -> dict[str, object]:
    """The base's weights of the chunk, if the frame is given them."""
    return {"base_dtype": vector.dtype, "base": vector.base.hex()} if vector.dtype else {}


def _invalid_entry(vector: InvalidFrame) -> dict[str, object]:
    entry: dict[str, object] = {"name": vector.name, "reason": vector.reason, "why": vector.why}
    if vector.entries is not None:
        entry["expected_entries"] = vector.entries
    return entry | _base(vector)


def index(made: str, vectors: Iterable[dict[str, object]]) -> bytes:
    """An index file, a vector a line."""
    lines = ",\n".join(json.dumps(vector, ensure_ascii=False) for vector in vectors)
    return f'{{"made": {json.dumps(made)}, "vectors": [\n{lines}\n]}}\n'.encode()


def check(files: Files) -> list[str]:
    """What is wrong with the committed files."""
    present = {
        path.relative_to(VECTORS).as_posix()
        for folder in GENERATED
        for path in (VECTORS / folder).rglob("*")
        if path.is_file()
    }
    faults = [f"{name} is not made by this script" for name in sorted(present - files.keys())]
    for name, data in files.items():
        if name not in present:
            faults.append(f"{name} is missing")
        elif (VECTORS / name).read_bytes() != data:
            faults.append(f"{name} differs")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    arguments = parser.parse_args()
    files = frame_vectors() | bank_vectors(index)
    if arguments.check:
        faults = check(files)
        print("\n".join(faults) or f"{len(files)} files are as they should be")
        return 1 if faults else 0
    for name, data in files.items():
        path = VECTORS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    print(f"wrote {len(files)} files, {sum(map(len, files.values()))} bytes")
    stale = [fault for fault in check(files) if "not made" in fault]
    print("\n".join(stale), end="\n" if stale else "")
    return 0


if __name__ == "__main__":
    sys.exit(main())
