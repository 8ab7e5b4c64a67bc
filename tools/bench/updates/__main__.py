"""Updates of a training run: tvbank beside what else stores one, in bytes, seconds and memory.

    python -m tools.bench updates --pairs FOLDER [--build] [--minilm FOLDER] [--chance]
    python -m tools.bench updates --pair OLD NEW [--ways update xor arc] [--rounds 3]
    python -m tools.bench updates --live BASE BEFORE AFTER
    python -m tools.bench updates --entropy OLD NEW

Each way stores and restores each pair in a process of its own, on two cores and with two threads
where it has threads, to files that are not synced; what it restores is compared. tvbank's way
and XOR + zstd-1 then do the same in one process by turns. Peers that are not installed say so.
With --live, a model in memory becomes one version and the next, beside adding dense differences
and loading the file. With --entropy, what the changes between two files of bfloat16 take at least,
if each is coded by itself, and given the exponent of the old entry.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tools import ROOT
from tools.bench._measure import options, report
from tools.bench.updates._child import WAYS
from tools.bench.updates._entropy import entropy
from tools.bench.updates._gemma import PAIRS, build
from tools.bench.updates._live import live
from tools.bench.updates._pairs import MINILM, minilm, synthetic

_SLOW = ("xor19",)
_CHANCES = (0.01, 0.003)
_MIB = 2**20


def measure(old: Path, new: Path, ways: list[str], rounds: int) -> list[dict[str, Any]]:
    """A row a way, and two that compare tvbank's with XOR + zstd-1 by turns."""
    found: dict[str, Any] = {}
    for name in ways:
        found |= _run(old, new, 1, [name])
    rows = [_row(name, found[name], found) for name in ways]
    if rounds and {"update", "xor"} <= set(ways):
        turns = _run(old, new, rounds, ["update", "xor"])
        rows += [
            {
                "way": f"{what}: {WAYS['update'].label} over {WAYS['xor'].label}, by turns",
                f"{what}, s": turns["update"][f"{what}, s"],
                "by turns": turns["update"][f"{what}, s"] / turns["xor"][f"{what}, s"],
                "of CPU": turns["update"][f"{what}, CPU s"] / turns["xor"][f"{what}, CPU s"],
            }
            for what in ("encode", "restore")
        ]
    return rows


def _run(old: Path, new: Path, rounds: int, names: list[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "tools.bench.updates._child", old.absolute(), new.absolute()]
    command += [rounds, *names]
    done = subprocess.run(
        list(map(str, command)), check=True, capture_output=True, text=True, cwd=ROOT
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _row(name: str, found: dict[str, Any], all_found: dict[str, Any]) -> dict[str, Any]:
    ours = all_found.get("update", {}).get("bytes")
    row = {"way": WAYS[name].label, **found}
    if "bytes" in found:
        row["MiB"] = found["bytes"] / _MIB
        row["tvbank's over it"] = ours / found["bytes"] if ours else None
    return row


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--pairs", type=Path, metavar="FOLDER", help="where the Gemma pairs are")
    parser.add_argument("--build", action="store_true", help="make them there first: 5 GB")
    parser.add_argument("--minilm", type=Path, metavar="FOLDER", help="pairs of MiniLM; made first")
    parser.add_argument("--chance", action="store_true", help="1 and .3 %% changed at random")
    parser.add_argument("--pair", type=Path, nargs=2, metavar=("OLD", "NEW"), help="two files")
    parser.add_argument("--live", type=Path, nargs=3, metavar=("BASE", "BEFORE", "AFTER"))
    parser.add_argument("--entropy", type=Path, nargs=2, metavar=("OLD", "NEW"))
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), help="by default all quick ones")
    parser.add_argument("--rounds", type=int, default=3, help="of turns; 0 leaves them out")
    arguments = parser.parse_args()
    ways = arguments.ways or [name for name in WAYS if name not in _SLOW]
    if arguments.live:
        rows = [row.figures() for row in live(*arguments.live, arguments.rounds)]
        report(arguments, {"rounds": arguments.rounds}, {arguments.live[0].stem: rows})
        return
    if arguments.entropy:
        old, new = arguments.entropy
        report(arguments, {}, {f"{old.stem} to {new.stem}": [entropy(old, new)]})
        return
    with tempfile.TemporaryDirectory(prefix="tvbank-pairs-") as folder:
        pairs = list(_pairs(arguments, Path(folder)))
        if not pairs:
            sys.exit("give --pairs, --minilm, --chance, --pair or --live")
        tables = {
            f"{old.stem} to {new.stem}": measure(old, new, ways, arguments.rounds)
            for old, new in pairs
        }
    report(arguments, {"rounds": arguments.rounds}, tables)


def _pairs(arguments: argparse.Namespace, made: Path) -> list[tuple[Path, Path]]:
    """The pairs that were asked for; those that are not there are made."""
    pairs = [tuple(arguments.pair)] if arguments.pair else []
    if folder := arguments.pairs:
        if arguments.build:
            build(folder)
        pairs += [_files(folder, *pair) for pair in PAIRS]
    if folder := arguments.minilm:
        if not all(path.exists() for pair in MINILM for path in _files(folder, *pair)):
            minilm(folder)
        pairs += [_files(folder, *pair) for pair in MINILM]
    if arguments.chance:
        pairs += [synthetic(made, share) for share in _CHANCES]
    return pairs


def _files(folder: Path, old: str, new: str) -> tuple[Path, Path]:
    return folder / f"{old}.safetensors", folder / f"{new}.safetensors"


if __name__ == "__main__":
    main()
