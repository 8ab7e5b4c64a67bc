"""The smallest install: the wheel in an empty environment, without extras, and what it takes.

A bank that is written here is listed, shown, read, exported, verified and copied there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.release._environment import (
    CONSTRAINTS,
    apart,
    build,
    install,
    make_environment,
    packages_in,
)

READS = Path(__file__).with_name("reads.py")
#: Bytes that the environment may take.
MOST = 150e6


def check(python: Path, folder: Path, *what: str, block: Sequence[str] = ()) -> None:
    """Let a Python run ``reads.py`` on a folder.

    Raises:
        subprocess.CalledProcessError: something does not work there; ``stderr`` says what.
    """
    command = [str(python), "-W", "ignore:numba is not installed", str(READS), *what]
    options = ["--folder", str(folder), "--block", *block]
    subprocess.run(
        [*command, *options], check=True, cwd=folder, env=apart(), capture_output=True, text=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--newest", action="store_true", help="not the versions that are pinned")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = build(Path(folder) / "dist")
        python = make_environment(Path(folder) / "environment")
        pins = [] if asked.newest else ["-c", str(CONSTRAINTS)]
        install(python, *pins, str(wheel))
        sizes = packages_in(python)
        command = [sys.executable, str(READS), "write", "--folder", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        check(python, Path(folder), "read")
    total = sum(sizes.values())
    if total > MOST:
        sys.exit(f"it takes {total / 1e6:.1f} MB, more than {MOST / 1e6:.0f}: {sizes}")
    if asked.json:
        print(json.dumps({"bytes": total, "packages": sizes}, indent=2))
        return
    for name, size in list(sizes.items())[:10]:
        print(f"{size / 1e6:8.1f} MB  {name}")
    print(f"{total / 1e6:8.1f} MB  in all; banks are read, exported and verified there")


if __name__ == "__main__":
    main()
