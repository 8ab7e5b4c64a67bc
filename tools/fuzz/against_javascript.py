"""The reader in TypeScript against the reference: ``python -m tools.fuzz.against_javascript``.

    (cd tools/js && npm ci && npm run build)
    python -m tools.fuzz.against_javascript [KIND…] [--runs 10000] [--seed 0]

Inputs are the seeds and mutations of the targets of the same names. Both must refuse, or both read
the same bits; of frames, root documents and extras the reasons must be the same, too. Of zip files,
which the reference reader does not read, the other reader is the package's. It stops at the first
input on which they differ, and writes it to a file.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import random
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from spec.reference.__main__ import dense_bytes
from spec.reference.bank import open_bank
from spec.reference.documents import read_root
from spec.reference.extras import _decompress
from spec.reference.frame import decode_frame
from spec.reference.verify import verify
from tools.fuzz import _documents, _mutate
from tools.fuzz._agreement import Outcome, attempt
from tools.fuzz._frames import ROOT, too_long
from tools.fuzz.targets import bank, catalog, extra, frame
from tools.fuzz.targets import zip as zipped

_MOST_BYTES = 8192
_MOST_ENTRIES = 10**6


class Question(NamedTuple):
    """What both readers are asked: of the other one by a request, of the slow one by a call.

    ``ordered``: whether both must give the same reason.
    """

    request: dict[str, Any]
    slow: Callable[[], Any]
    ordered: bool = True


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def ask_frame(data: bytes) -> Question | None:
    """A frame; one that is given the base gets one that is made of its own bytes."""
    if too_long(data, frame.MOST):
        return None
    given = bytes(data[i % len(data)] for i in range(frame.MOST)) if data else b""
    request = {"kind": "frame", "data": _text(data), "exponents": _text(given)}

    def slow() -> Any:
        found = decode_frame(data, None, list(given))
        count = len(found.positions)
        raw = struct.pack(f"<{count}I{count}I", *found.positions, *found.patterns)
        return [found.element, found.entries, hashlib.sha256(raw).hexdigest()]

    return Question(request, slow)


def ask_catalog(data: bytes) -> Question | None:
    """A root document with the digest that it must have."""
    document = catalog.sealed(data)
    if not _documents.one_meaning(document):
        return None

    def slow() -> Any:
        found = read_root(document)
        return [found.generation, list(found.tasks), list(found.routers)]

    return Question({"kind": "catalog", "data": _text(document)}, slow)


def ask_extra(data: bytes) -> Question | None:
    """An extra's chunk after the size that it must have; no chunk has none."""
    size, chunk = int.from_bytes(data[:2], "little"), data[2:]
    if size == 0:
        return None
    request = {"kind": "extra", "data": _text(chunk), "size": size}
    return Question(request, lambda: hashlib.sha256(_decompress(chunk, size)).hexdigest())


def ask_zip(data: bytes) -> Question | None:
    """A zip file's directory; the package's reader takes the place of the reference."""

    def slow() -> Any:
        found = zipped._read(data)
        return sorted([name, *place] for name, place in found.items())

    return Question({"kind": "zip", "data": _text(data)}, slow)


def ask_bank(data: bytes) -> Question | None:
    """A bank with one object forged."""
    objects = bank.forge(data[0], data[1:])
    forged = bank._KEYS[data[0] % len(bank._KEYS)]
    if forged.endswith("zarr.json") and not _documents.one_meaning(data[1:]):
        return None
    texts = {key: _text(content) for key, content in objects.items()}
    request = {"kind": "bank", "objects": texts, "most": _MOST_ENTRIES}
    return Question(request, lambda: _contents(objects), ordered=False)


def _contents(objects: dict[str, bytes]) -> dict[str, str]:
    """Every unit and extra of a bank that is not too large, by its digest."""
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for key, content in objects.items():
            path = Path(folder, key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        opened = open_bank(folder)
        verify(opened)
        for task in opened.catalog.tasks:
            for unit in opened.layout.units.values():
                if unit.size <= _MOST_ENTRIES:
                    dense = dense_bytes(unit.size, *opened.entries(task, unit.name))
                    found[f"{task}\n{unit.name}"] = hashlib.sha256(dense).hexdigest()
            for each in opened.revision(task).extras:
                if each.size <= _MOST_ENTRIES:
                    raw = opened.extra(task, each.name)
                    found[f"{task}\nextra\n{each.name}"] = hashlib.sha256(raw).hexdigest()
    return found


KINDS: dict[str, tuple[Any, Callable[[bytes], Question | None]]] = {
    "frame": (frame, ask_frame),
    "catalog": (catalog, ask_catalog),
    "extra": (extra, ask_extra),
    "zip": (zipped, ask_zip),
    "bank": (bank, ask_bank),
}


def inputs(target: Any, runs: int, dice: random.Random) -> Iterator[bytes]:
    """The seeds of a target, then so many mutations of them, one upon another now and then."""
    seeds = [data for data in target.seeds() if len(data) <= _MOST_BYTES]
    yield from seeds
    for _ in range(runs):
        data = dice.choice(seeds)
        for _ in range(dice.choice((1, 1, 1, 2, 3))):
            data = target.mutate(data, _MOST_BYTES, dice.randrange(2**32))
        yield data


def compare(kind: str, runs: int, seed: int) -> bool:
    """Ask both readers; says what came of it, and whether they agreed on everything."""
    target, question_of = KINDS[kind]
    _mutate.dice = random.Random(seed)
    reasons: Counter[str] = Counter()
    others: Counter[tuple[str | None, str | None]] = Counter()
    command = ["node", str(ROOT / "tools" / "js" / "dist" / "tool" / "answer.js")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        for data in inputs(target, runs, random.Random(seed)):
            question = question_of(data)
            if question is None:
                continue
            reader.stdin.write(json.dumps(question.request).encode() + b"\n")
            reader.stdin.flush()
            slow = attempt(question.slow)
            answer = json.loads(reader.stdout.readline())
            read = answer.get("read")
            fast = Outcome(answer.get("reason"), sorted(read) if kind == "zip" and read else read)
            reasons[slow.reason or "read"] += 1
            alike = fast.reason == slow.reason
            if not alike and not question.ordered and fast.reason and slow.reason:
                others[slow.reason, fast.reason] += 1
                alike = True
            if "crash" in answer or not alike or fast.read != slow.read:
                path = Path(tempfile.mkdtemp(), kind)
                path.write_bytes(data)
                print(f"{kind}: the readers differ on {path}: {slow} and {answer}")
                reader.stdin.close()
                return False
        reader.stdin.close()
    print(f"{kind}: {sum(reasons.values())} inputs, {dict(reasons.most_common())}")
    if others:
        print(f"  other reasons, which the order allows: {dict(others.most_common())}")
    return True


def main() -> int:
    """Compare the kinds that are named, or all."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.fuzz.against_javascript", description=__doc__.splitlines()[0]
    )
    parser.add_argument("kind", nargs="*", choices=[*KINDS, []], help="all, if none is named")
    parser.add_argument("--runs", type=int, default=10_000, help="mutations of each kind")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    kinds = arguments.kind or KINDS
    return 0 if all(compare(kind, arguments.runs, arguments.seed) for kind in kinds) else 1


if __name__ == "__main__":
    sys.exit(main())
