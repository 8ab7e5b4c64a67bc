"""The pages of docs/ and spec/ in one folder, their links mended.

A page's links hold in the repository. On the site spec/ lies below docs/, and ``README.md`` is the
``index.md`` of its folder; what the site does not show, such as a test, is named and not linked.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path, PurePosixPath

from tools import ROOT

#: Folders and files of the repository, and where they lie on the site.
PLACES = {
    "docs": "",
    "spec": "spec",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
_LEFT_OUT = ("spec/vectors", "spec/reference")
_SHOWN = {".md", ".svg", ".png", ".json", ".txt", ".html"}
_LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^)\s#]*)(#[^)\s]*)?\)")
_FENCE = re.compile(r"^ *(```|~~~)")


def pages() -> dict[Path, PurePosixPath]:
    """Every file that the site shows, below the repository, and its place on the site."""
    found: dict[Path, PurePosixPath] = {}
    for source, place in PLACES.items():
        for path in (
            [ROOT / source] if place.endswith(".md") else sorted((ROOT / source).rglob("*"))
        ):
            below = path.relative_to(ROOT)
            if path.suffix not in _SHOWN or below.as_posix().startswith(_LEFT_OUT):
                continue
            if place.endswith(".md"):
                found[below] = PurePosixPath(place)
                continue
            there = PurePosixPath(place, path.relative_to(ROOT / source).as_posix())
            found[below] = there.with_name("index.md") if there.name == "README.md" else there
    return found


def assemble(out: Path) -> None:
    """Write every page to its place below ``out``, which is made anew."""
    shutil.rmtree(out, ignore_errors=True)
    places = pages()
    for source, place in places.items():
        there = out / place
        there.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".md":
            there.write_text(mended((ROOT / source).read_text(), source, places))
        else:
            shutil.copy(ROOT / source, there)


def mended(text: str, source: Path, places: dict[Path, PurePosixPath]) -> str:
    """A page's text with its links as they hold on the site; code is left as it is."""
    lines, fenced = [], False
    for line in text.splitlines():
        if _FENCE.match(line):
            fenced = not fenced
        lines.append(line if fenced else _LINK.sub(lambda link: _link(link, source, places), line))
    return "\n".join(lines) + "\n"


def _link(link: re.Match[str], source: Path, places: dict[Path, PurePosixPath]) -> str:
    label, target, anchor = link[1], link[2], link[3] or ""
    if not target or "://" in target:
        return link[0]
    there = Path(os.path.normpath(source.parent / target))
    if (ROOT / there / "README.md").is_file() and there / "README.md" in places:
        there /= "README.md"
    if there in places:
        here = places[source].parent
        return f"{label}({os.path.relpath(places[there], here)}{anchor})"
    if (ROOT / there).exists():
        name = label.strip("[]!`")
        path = f"`{there}`"
        return path if name.strip("/") in there.as_posix() else f"{name} ({path})"
    return link[
        0
    ]  # a page that is made when the site is built, or a mistake, which the build finds
