"""Task names: safe as the name of a folder everywhere (spec/container.md, "Names")."""

from __future__ import annotations

import re

from tvbank.errors import InvalidNameError

PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"

_DEVICES = {"con", "prn", "aux", "nul", *(f"{p}{n}" for p in ("com", "lpt") for n in range(10))}


def check_task_name(name: str, what: str = "task") -> str:
    """Return the name, if it is one that a task (or a router, ``what``) may have.

    Raises:
        InvalidNameError: says what is allowed.
    """
    folded = name.lower()
    allowed = re.fullmatch(PATTERN[1:-1], name) is not None and not name.endswith(".")
    reserved = folded == "zarr.json" or ".tmp-" in folded  # names of files in the bank's folder
    if not allowed or reserved or folded.partition(".")[0] in _DEVICES:
        raise InvalidNameError(
            f"{name[:140]!r} cannot be a {what}'s name: use 1 to 128 letters, digits, '.', '_' and "
            "'-', starting with a letter or digit, not ending in '.', without '.tmp-', and neither "
            "'zarr.json' nor the name of a device"
        )
    return name
