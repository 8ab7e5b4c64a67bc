"""Flip every bit of every object of a small bank, one at a time: is each found, is none believed?

    python -m tools.soak flips [BANK] [--every N] [--json]

For every flip ``verify`` must find a fault, and whatever can still be read (units dense and sparse,
by range and by shard, extras, metadata, routers) must be what it was. Without BANK: one made on the
spot, with a lossy and an exact task, odd floats, extras, an empty unit, tied units, a router: some
100,000 flips in a quarter of an hour. ``--every 100`` takes every hundredth bit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import tvbank
from tools import borrow_tests
from tools.bench._measure import options, report, timed
from tvbank.bank.verify import verify
from tvbank.errors import TvbankError
from tvbank.storage import Storage

borrow_tests()
import banks  # noqa: E402

#: What was read, by the name of it, in a form that compares bit by bit.
Numbers = dict[str, Any]


def numbers(storage: Storage) -> Numbers:
    """All that can be read, by name; what is refused is left out."""
    found: Numbers = {}

    def take(name: str, read: Callable[[], Any]) -> None:
        try:
            found[name] = read()
        except TvbankError:
            return

    try:
        bank = tvbank.open(storage)
    except TvbankError:
        return found
    found["tasks"] = list(bank)
    for task_name, task in bank.items():
        take(f"{task_name} metadata", lambda task=task: task.metadata)
        take(f"{task_name} all", lambda task=task: _bytes(task.to_dense()))
        for unit_name in task:
            name, unit = f"{task_name}/{unit_name}", task[unit_name]
            take(f"{name} dense", lambda unit=unit: unit.to_dense().tobytes())
            take(f"{name} sparse", lambda unit=unit: [a.tobytes() for a in unit.to_sparse()])
        try:
            extras = task.extras
        except TvbankError:
            continue
        for extra in extras:
            take(f"{task_name}/{extra}", lambda extras=extras, extra=extra: _whole(extras[extra]))
    for name in bank.routers:
        take(f"router {name}", lambda name=name: banks.router_numbers(bank.router(name)))
    return found


def _bytes(arrays: dict[str, Any]) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in arrays.items()}


def _whole(array: Any) -> tuple[bytes, tuple[int, ...], str]:
    return array.tobytes(), array.shape, str(array.dtype)


def examine(objects: dict[str, bytes], key: str, bit: int, sound: Numbers) -> str | None:
    """What is wrong with how one flipped bit is taken; nothing, it is to be hoped."""
    flipped = bytearray(objects[key])
    flipped[bit // 8] ^= 1 << bit % 8
    storage = banks.store(objects | {key: bytes(flipped)})
    try:
        if not verify(storage):
            return "verify finds no fault"
    except TvbankError:
        pass  # it says that there is no bank
    for name, read in numbers(storage).items():
        if read != sound.get(name):
            return f"{name} is read as something else"
    return None


def main() -> int:
    parser = options(__doc__)
    parser.add_argument("bank", nargs="?", help="a folder; one is made on the spot without")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every N-th bit")
    arguments = parser.parse_args()
    bank = tvbank.open(arguments.bank) if arguments.bank else banks.routed_bank()
    objects = banks.contents(bank.storage)
    sound = numbers(banks.store(objects))
    if verify(banks.store(objects)):
        parser.error("the bank is damaged already")
    places = [(key, bit) for key in sorted(objects) for bit in range(8 * len(objects[key]))]
    places = places[:: arguments.every]

    def flip_all() -> list[str]:
        wrong = []
        for key, bit in places:
            if (fault := examine(objects, key, bit, sound)) is not None:
                wrong.append(f"{key}, bit {bit}: {fault}")
                print(wrong[-1], file=sys.stderr)
        return wrong

    seconds, wrong = timed(flip_all)
    facts = {
        "objects": len(objects), "bytes": sum(map(len, objects.values())), "read": len(sound),
        "flips": len(places), "undetected": len(wrong), "seconds": round(seconds),
    }  # fmt: skip
    report(arguments, facts, {})
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
