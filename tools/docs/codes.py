"""The page of errors and reason codes: the classes of tvbank.errors, the tables of the spec."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

from tools import ROOT
from tvbank import errors

_ROW = re.compile(r"^\|(?: \d+ \|)? ((?:`[a-z-]+`(?:, )?)+) \| (.+?) \|")
#: Pages of the spec with a table of codes, and the headings above them.
_TABLES = (("container.md", "Reason codes"), ("frame.md", "Faults"))
_EXAMPLES = 3


def reason_codes() -> dict[str, list[tuple[str, str]]]:
    """Every code of the spec's tables: what is wrong, and the place that says so."""
    found: dict[str, list[tuple[str, str]]] = {}
    for page, heading in _TABLES:
        text = (ROOT / "spec" / page).read_text().split(f"## {heading}\n", 1)[1]
        for line in re.split(r"^## ", text, maxsplit=1, flags=re.MULTILINE)[0].splitlines():
            row = _ROW.match(line)
            for code in re.findall(r"`([a-z-]+)`", row[1]) if row else ():
                place = f"{page}#{heading.lower().replace(' ', '-')}"
                found.setdefault(code, []).append((row[2], place))
    return found


def refused_with(code: str) -> list[str]:
    """What is wrong with the invalid vectors that are refused with this code."""
    why = []
    for kind in ("banks", "frames"):
        index = ROOT / "spec" / "vectors" / kind / "invalid" / "index.json"
        vectors = json.loads(index.read_text())["vectors"]
        why += [vector["why"] for vector in vectors if vector["reason"] == code]
    return why


def write_codes(out: Path) -> None:
    """Write errors/codes.md."""
    lines = [
        "# Errors, by class and by reason code",
        "",
        "Made of `tvbank/errors.py` and of the spec's tables. What to do about one: "
        "[When something is wrong](index.md).",
        "",
        "## Classes",
        "",
        "`except tvbank.TvbankError` catches them all; each is also the built-in exception named "
        "beside it.",
        "",
        "| class | is also | what it says |",
        "|---|---|---|",
    ]
    for name in errors.__all__:
        kind = getattr(errors, name)
        parents = ", ".join(f"`{base.__name__}`" for base in kind.__bases__)
        summary = " ".join(inspect.getdoc(kind).split("\n\n")[0].split()).replace("``", "`")
        lines.append(f"| `{name}` | {parents} | {summary} |")
    lines += [
        "",
        "## Reason codes",
        "",
        "`error.reason` of a `FormatError`, `FrameError`, `CorruptionError` or `UnsupportedError`. "
        "A code keeps its meaning for ever. The vectors show each in bytes, and any reader must "
        "refuse them with this code.",
    ]
    for code, cases in reason_codes().items():
        lines += ["", f"### {code}", ""]
        for wrong, place in dict.fromkeys(cases):
            wrong = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", wrong)
            lines.append(f"- {wrong[0].upper()}{wrong[1:]} ([spec](../spec/{place}))")
        if why := refused_with(code):
            more = f"; {len(why) - _EXAMPLES} more" if len(why) > _EXAMPLES else ""
            lines += ["", f"Vectors: {'; '.join(why[:_EXAMPLES])}{more}."]
    path = out / "errors" / "codes.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
