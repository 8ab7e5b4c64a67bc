"""Run one page whole, in an empty folder, its commands as processes of their own."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from pathlib import Path

from tools.docs.blocks import run_page


def main() -> None:
    """Run a page and say how long it took."""
    parser = argparse.ArgumentParser(prog="python -m tools.docs run", description=__doc__)
    parser.add_argument("page", type=Path, help="such as docs/tutorial.md")
    parser.add_argument("--folder", type=Path, help="where to run it, instead of a temporary one")
    arguments = parser.parse_args()
    page, begun = arguments.page.resolve(), time.monotonic()
    with contextlib.ExitStack() as stack:
        folder = arguments.folder or stack.enter_context(tempfile.TemporaryDirectory())
        Path(folder).mkdir(parents=True, exist_ok=True)
        stack.enter_context(contextlib.chdir(folder))
        run_page(page, real=True)
    print(f"{page.name}: every block ran, {(time.monotonic() - begun) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
