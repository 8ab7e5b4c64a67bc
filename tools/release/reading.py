"""The smallest install: the wheel in an empty environment without torch, and what it takes.

Writes, lists, shows, reads, exports and verifies a bank there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
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
        subprocess.run([str(python), str(READS)], check=True, cwd=folder, env=apart(), stdout=-3)
    total = sum(sizes.values())
    if asked.json:
        print(json.dumps({"bytes": total, "packages": sizes}, indent=2))
        return
    for name, size in list(sizes.items())[:10]:
        print(f"{size / 1e6:8.1f} MB  {name}")
    print(f"{total / 1e6:8.1f} MB  in all; banks are written, read, exported and verified there")


if __name__ == "__main__":
    main()
