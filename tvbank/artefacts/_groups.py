"""The compiled loop over T-Switch's bit files."""

from __future__ import annotations

from typing import Any

from tvbank.coding.kernel import kernel


@kernel
def unpack_groups(bits: Any, entries: Any, groups: int, group: int) -> Any:
    """Entries of a bit file; how many bits were used, or one more than there are if too few.

    Args:
        bits: uint8, 0 or 1 each.
        entries: uint8 [groups * group], zeros; becomes 1 for +, 255 for -.
        groups: how many.
        group: entries of one.
    """
    at = groups
    if at > bits.size:
        return bits.size + 1
    for number in range(groups):
        if bits[number] == 0:
            continue
        if at + group > bits.size:
            return bits.size + 1
        sign = at + group
        for place in range(group):
            if bits[at + place] == 1:
                if sign >= bits.size:
                    return bits.size + 1
                entries[number * group + place] = 1 if bits[sign] == 1 else 255
                sign += 1
        at = sign
    return at
