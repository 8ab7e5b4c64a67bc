"""Assemble the site's pages and build them with zensical; a warning is an error."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from tools import ROOT
from tools.docs.codes import write_codes
from tools.docs.llms import write_llms
from tools.docs.reference import write_reference
from tools.docs.sources import assemble

#: Where mkdocs.yml looks for pages, and where it puts the site.
PAGES, SITE = ROOT / "build" / "docs", ROOT / "build" / "site"

_LOADING = re.compile(
    r'<(?:script|link|img|iframe|source)\b[^>]*(?:src|href)="(?:https?:)?//[^>]*>'
)
_STYLED = re.compile(r"""(?:url\(|@import )["']?((?:https?:)?//[^"')]*)""")


def prepare(out: Path) -> None:
    """Write every page of the site below ``out``: those that lie here, and those that are made."""
    assemble(out)
    write_reference(out)
    write_codes(out)
    write_llms(out)


def fetched(site: Path) -> list[str]:
    """What pages of a site would load from elsewhere when they are read: there must be nothing."""
    found = []
    for page in sorted(site.rglob("*.html")):
        for tag in _LOADING.findall(page.read_text()):
            found.append(f"{page.relative_to(site)}: {tag}")
    for style in sorted(site.rglob("*.css")):
        found += [f"{style.name}: {url}" for url in _STYLED.findall(style.read_text())]
    return found


def main() -> None:
    """Build the site into build/site."""
    parser = argparse.ArgumentParser(prog="python -m tools.docs build", description=__doc__)
    parser.add_argument("--pages", action="store_true", help="write the pages only, to build/docs")
    arguments = parser.parse_args()
    prepare(PAGES)
    if not arguments.pages:
        command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
        ended = subprocess.run(command, cwd=ROOT, check=False)
        if ended.returncode:
            sys.exit("the site is not built: see the warnings above")
        if outside := fetched(SITE):
            sys.exit("the site would fetch from elsewhere:\n" + "\n".join(outside))
        print(f"built {SITE.relative_to(ROOT)}/index.html")


if __name__ == "__main__":
    main()
