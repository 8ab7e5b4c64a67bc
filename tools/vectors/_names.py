"""Names of invalid vectors: the reason and what was done, as a file name."""

from __future__ import annotations

import re
from collections.abc import Iterable

LENGTH = 56


def distinct_names(faults: Iterable[tuple[str, str]]) -> list[str]:
    """A name for each pair of reason and explanation."""
    names: list[str] = []
    for reason, why in faults:
        words = re.sub("[^a-z0-9]+", " ", f"{reason} {why.lower()}").split()
        while len("-".join(words)) > LENGTH:
            words.pop()
        name = "-".join(words)
        same = sum(other == name or other.startswith(f"{name}--") for other in names)
        names.append(f"{name}--{same + 1}" if same else name)
    return names
