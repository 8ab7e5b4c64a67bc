"""Print what a bank holds: ``python -m spec.reference BANK [TASK [UNIT]]``."""

from __future__ import annotations

import sys

if not __package__:  # started as `python spec/reference`: start again as a package
    import runpy
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])
    runpy.run_module("reference", run_name="__main__", alter_sys=True)
    sys.exit()

import hashlib
from array import array

from .bank import Bank, open_bank
from .invalid import Invalid
from .verify import verify

USAGE = "usage: python -m spec.reference BANK [TASK [UNIT]]"


def main(arguments: list[str]) -> int:
    """Print a bank, a task or a unit; 0 if all that was read is valid, 1 if not, 2 for misuse."""
    if not 1 <= len(arguments) <= 3:
        print(USAGE, file=sys.stderr)
        return 2
    folder, *chosen = arguments
    try:
        bank = open_bank(folder)
        if not chosen:
            print_bank(bank)
            verify(bank)
            print("valid")
        elif chosen[0] not in bank.catalog.tasks:
            print(f"no task {chosen[0]!r}", file=sys.stderr)
            return 2
        else:
            print_task(bank, *chosen)
    except Invalid as fault:
        print(f"invalid: {fault}", file=sys.stderr)
        return 1
    return 0


def print_bank(bank: Bank) -> None:
    """The catalog, a line a task."""
    layout = bank.layout
    print(f"format {bank.catalog.format}, generation {bank.catalog.generation}")
    print(f"layout: {len(layout.units)} units, {layout.length} entries, {layout.shards} shards")
    for name, task in bank.catalog.tasks.items():
        how = task.compressor["name"]
        print(
            f"{name}: {how}, {task.element}, {task.nonzeros} non-zeros, {task.stored_bytes} bytes"
        )

    for name in bank.catalog.routers:
        router, _ = bank.router(name)
        print(f"router {name}: {', '.join(router.tasks)}; at {router.at}, width {router.width}")


def print_task(bank: Bank, name: str, chosen: str | None = None) -> None:
    """The SHA-256 of the decoded little-endian bytes of each unit and each extra."""
    extras = [extra.name for extra in bank.revision(name).extras]
    for unit in bank.layout.units.values():
        if chosen in (None, unit.name):
            entries = bank.entries(name, unit.name)
            digest = hashlib.sha256(dense_bytes(unit.size, *entries)).hexdigest()
            print(f"{digest}  {len(entries.positions)}/{unit.size}  {unit.name}")
    for extra in extras:
        if chosen in (None, extra):
            print(f"{hashlib.sha256(bank.extra(name, extra)).hexdigest()}  whole  {extra}")


def dense_bytes(size: int, positions: list[int], patterns: list[int]) -> bytes:
    """All entries of a unit, zeros included, as little-endian bytes."""
    dense = array("I", bytes(4 * size))
    for position, pattern in zip(positions, patterns, strict=True):
        dense[position] = pattern
    if sys.byteorder == "big":
        dense.byteswap()
    return dense.tobytes()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
