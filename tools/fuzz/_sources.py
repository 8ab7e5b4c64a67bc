"""Which modules can carry the counters of coverage."""

from __future__ import annotations

import re
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
#: What numba compiles cannot: it reads the very bytecode that the counters would change.
_COMPILED = re.compile(r"^(@kernel|@inlined|@njit|@_instruction|@intrinsic)", re.MULTILINE)


def compiled_modules() -> list[str]:
    """Names of the modules of tvbank with compiled functions."""
    return [
        ".".join(path.relative_to(_ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((_ROOT / "tvbank").rglob("*.py"))
        if _COMPILED.search(path.read_text())
    ]
