"""Names of tasks and units (container.md, "Names")."""

from __future__ import annotations

import re
import unicodedata

from .invalid import require

MAX_UNIT_NAME_BYTES = 1024

_TASK = "[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
_DEVICE = "con|prn|aux|nul|com[0-9]|lpt[0-9]"


def check_task_name(name: str) -> None:
    """Refuse names that are no safe folder everywhere.

    Raises:
        Invalid: ``name``.
    """
    folded = name.lower()
    require(
        re.fullmatch(_TASK, name) is not None
        and not name.endswith(".")
        and re.fullmatch(_DEVICE, folded.partition(".")[0]) is None
        and folded != "zarr.json"
        and ".tmp-" not in folded,
        "name",
        f"{name!r} cannot be a task's name",
    )


def check_unit_name(name: str) -> None:
    """Refuse empty, overlong and unprintable names.

    Raises:
        Invalid: ``name``.
    """
    require(
        1 <= len(name.encode()) <= MAX_UNIT_NAME_BYTES
        and all(unicodedata.category(character) != "Cc" for character in name),
        "name",
        f"{name!r} cannot be a unit's name",
    )
