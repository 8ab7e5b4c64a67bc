"""llms.txt: what each page is about, a line each, for programs that read before they ask."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tools import ROOT

_SENTENCE = r"(?<=[.?]) "


def navigation() -> list[Any]:
    """The sections and pages that mkdocs.yml lists."""
    return list(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])


def write_llms(out: Path) -> None:
    """Write llms.txt (llmstxt.org) beside the pages."""
    lines = ["# tvbank", ""]
    lines += [
        "> One base model, many fine-tunes, each a small compressed task vector in one bank.", "",
    ]  # fmt: skip
    for entry in navigation():
        ((title, content),) = entry.items()
        lines += ["", f"## {title}", ""] if isinstance(content, list) else []
        lines += [_line(name, page, out) for name, page in flat(title, content)]
    (out / "llms.txt").write_text("\n".join(lines) + "\n")


def flat(title: str, content: Any) -> list[tuple[str, str]]:
    """Titles and pages of a part of the navigation, in order."""
    if isinstance(content, str):
        return [(title, content)]
    found = []
    for entry in content:
        pairs = entry.items() if isinstance(entry, dict) else [(title, entry)]
        for name, part in pairs:
            found += flat(name, part)
    return found


def _line(title: str, page: str, out: Path) -> str:
    text = re.sub(r"^```.*?^```$", "", (out / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    paragraphs = [part.strip() for part in text.split("\n\n") if part.strip()]
    goals = [part.removeprefix("**Goal:** ") for part in paragraphs if part.startswith("**Goal:**")]
    prose = [part for part in paragraphs if part[0].isalpha()]
    about = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", " ".join((goals or prose or [""])[0].split()))
    return f"- [{title}]({page})" + (
        f": {re.split(_SENTENCE, about)[0].rstrip(':')}" if about else ""
    )
