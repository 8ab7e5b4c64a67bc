"""Which modules can carry the counters of coverage."""

from __future__ import annotations

import re
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
#: What numba compiles cannot: it reads the very bytecode that the counters would change.
_COMPILED = re.compile(r"^(@kernel|@inlined|@njit|@instruction|@intrinsic)", re.MULTILINE)

#: A function that another module may define is compiled; the functions that a module defines.
_COMPILED_BY_NAME = re.compile(r"^\w+ = kernel\((\w+)\)", re.MULTILINE)
_DEFINED = re.compile(r"^def (\w+)", re.MULTILINE)


def compiled_modules() -> list[str]:
    """Names of the modules of tvbank with compiled functions, whoever compiles them."""
    sources = {path: path.read_text() for path in sorted((_ROOT / "tvbank").rglob("*.py"))}
    elsewhere = {name for text in sources.values() for name in _COMPILED_BY_NAME.findall(text)}
    return [
        ".".join(path.relative_to(_ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path, text in sources.items()
        if _COMPILED.search(text) or elsewhere & set(_DEFINED.findall(text))
    ]
