"""Kills (-9) at random moments of ``add``, ``rm``, ``gc`` and ``cp``, by the thousand.

    python -m tools.soak kills [--kills 1000] [--seed 0] [--folder FOLDER] [--json]

After every kill the bank must be the one before the verb or the one after it, sound, go on to the
same bytes as if nothing had happened, and hold no debris. Ends with status 1 at the first that does
not, and leaves its bank for a look. The processes, the bank and the checks are those of the tests
(tests/e2e/test_kills.py).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools import ROOT, borrow_tests
from tools.bench._measure import options, report

TESTS = ROOT / "tests"
VERBS = ["add", "replace", "remove", "gc", "copy"]


def make_sound(path: Path) -> Path:
    """A bank with two tasks, and garbage for ``gc``."""
    import banks

    import tvbank

    bank = banks.small_bank(path)
    bank.add("removed", banks.fine_tune(3), tvbank.Exact())
    bank.add("lossy", banks.fine_tune(4), tvbank.Exact(), replace=True)
    bank.remove("removed")
    bank.add("lossy", banks.fine_tune(0), tvbank.TSwitch(drop=0.5), replace=True)
    return path


def start_victim() -> tuple[subprocess.Popen[str], Callable[..., dict[str, Any]]]:
    """The process that forks and mistreats children, and how to order it."""
    one_thread = {
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{ROOT}:{TESTS}",
    }
    process = subprocess.Popen(
        [sys.executable, TESTS / "e2e" / "victim.py"], env=os.environ | one_thread, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert json.loads(process.stdout.readline()) == "ready"
    given, taken = process.stdin, process.stdout

    def order(**wishes: object) -> dict[str, Any]:
        given.write(json.dumps(wishes) + "\n")
        given.flush()
        answer: dict[str, Any] = json.loads(taken.readline())
        assert not answer["failed"], answer
        return answer

    return process, order


def soak(kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kill so often, verbs taking turns; counts by verb."""
    from survival import assert_survived, states

    os.fsync = lambda _descriptor: None  # our own writes; the victim's are its own
    dice, sound = random.Random(seed), make_sound(folder / "sound" / "bank")
    process, order = start_victim()
    done: Counter[str] = Counter()
    late = 0
    begun = time.monotonic()
    try:
        allowed = {verb: states(sound, verb, folder / "states", order) for verb in VERBS}
        spans = {}
        for verb in VERBS:
            path = shutil.copytree(sound, folder / f"measured-{verb}" / "bank")
            spans[verb] = max(order(do=verb, bank=str(path))["seconds"], 0.002)
        while done.total() < kills:
            verb = VERBS[done.total() % len(VERBS)]
            path = shutil.copytree(sound, folder / "bank")
            killed = order(do=verb, bank=str(path), after=dice.uniform(0, spans[verb]))["killed"]
            assert_survived(path, allowed[verb])
            shutil.rmtree(path)
            done[verb] += killed
            late += not killed
            if killed and done.total() % 50 == 0:
                print(f"{done.total()} kills, {time.monotonic() - begun:.0f} s", file=sys.stderr)
    finally:
        process.kill()
        process.wait()
    return {"kills": dict(done), "came too late": late, "seconds": time.monotonic() - begun}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None, help="to work in; stays")
    arguments = parser.parse_args()
    borrow_tests()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="soak-"))
    found = soak(arguments.kills, arguments.seed, folder)
    if arguments.folder is None:
        shutil.rmtree(folder)
    report(arguments, found, {})


if __name__ == "__main__":
    main()
