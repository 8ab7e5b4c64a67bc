"""Builds wheel and sdist, and runs a fast part of the tests from the wheel, not from the sources.

The wheel is unpacked beside the packages of this environment and stands before the checkout.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from tools import ROOT
from tools.release._environment import build

#: Of every part one file that is quick: format, banks of earlier versions, entry points, errors.
TESTS = (
    "tests/conformance/test_schemas.py",
    "tests/compat",
    "tests/e2e/test_plugins.py",
    "tests/unit/test_errors.py",
    "tests/unit/test_without_torch.py",
)


def refuse_lacks(wheel: Path) -> None:
    """Stop if the wheel lacks a file of the package, or the sdist a part of the checkout."""
    sources = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tvbank").rglob("*")
        if path.is_file() and path.suffix in (".py", ".typed")
    }
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        packed = {name for name in names if name.startswith("tvbank/")}
    if missing := sources - packed:
        sys.exit(f"the wheel lacks {sorted(missing)}")
    if not any(name.endswith("/share/man/man1/tvbank.1") for name in names):
        sys.exit("the wheel lacks the man page")
    (sdist,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        parts = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    wanted = {"tvbank", "spec", "docs", "tests", "tools", "LICENSE", "README.md", "CITATION.cff"}
    if wanted - parts:
        sys.exit(f"the sdist lacks {sorted(wanted - parts)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep wheel and sdist here")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        wheel = build(folder / "dist")
        refuse_lacks(wheel)
        packages = folder / "packages"
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(packages)]
        subprocess.run([*pip, str(wheel)], check=True)
        for part in ("tests", "spec", "tools"):  # what the tests read beside the package
            shutil.copytree(ROOT / part, folder / "checkout" / part, ignore=_not_sources)
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, folder / "checkout")
        environment = os.environ | {"PYTHONPATH": str(packages)}
        where = [sys.executable, "-c", "import tvbank; print(tvbank.__file__)"]
        found = subprocess.run(
            where, check=True, capture_output=True, text=True, env=environment, cwd=folder
        ).stdout
        if not found.startswith(str(packages)):
            sys.exit(f"the tests would run from {found.strip()}, not from the wheel")
        pytest = [sys.executable, "-m", "pytest", "-q", *TESTS]
        subprocess.run(pytest, check=True, env=environment, cwd=folder / "checkout")
        if asked.keep is not None:
            shutil.copytree(wheel.parent, asked.keep, dirs_exist_ok=True)


def _not_sources(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name in ("__pycache__", "node_modules", ".hypothesis")]


if __name__ == "__main__":
    main()
