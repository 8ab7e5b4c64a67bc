"""libFuzzer's own mutations, for targets that have some of theirs."""

from __future__ import annotations

import random

#: Dice that stand in for libFuzzer where none runs (``against_javascript``).
dice: random.Random | None = None


def mutate_bytes(data: bytes, most: int) -> bytes:
    """Change some bytes of some data, which must not be empty; at most ``most`` come of it."""
    if dice is not None:
        return _by_dice(data, dice)[: max(1, most)]
    import atheris  # only here: seeds can be checked without it

    return bytes(atheris.Mutate(data, max(1, most)))


def _by_dice(data: bytes, dice: random.Random) -> bytes:
    """Flip, set, insert, drop, repeat or swap a few bytes."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        at = dice.randrange(len(changed) + 1)
        size = dice.choice((1, 1, 2, 4, 16))
        kind = dice.randrange(6)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << dice.randrange(8)
        elif kind == 1 and at < len(changed):
            changed[at] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        elif kind == 2:
            changed[at:at] = dice.randbytes(size)
        elif kind == 3:
            del changed[at : at + size]
        elif kind == 4:
            changed[at:at] = changed[at : at + size]
        else:
            there = dice.randrange(len(changed) + 1)
            changed[at : at + size] = changed[there : there + size]
    return bytes(changed) or b"\0"
