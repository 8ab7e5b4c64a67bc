"""Distributions of this checkout, and environments to try them in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tools import ROOT

CONSTRAINTS = ROOT / "tools" / "constraints.txt"


def build(out: Path) -> Path:
    """Build the sdist and the wheel into a folder; the wheel's path."""
    command = [sys.executable, "-m", "build", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = out.glob("tvbank-*.whl")
    (_,) = out.glob("tvbank-*.tar.gz")
    return wheel


def make_environment(folder: Path, python: str = sys.executable) -> Path:
    """An empty environment; its Python."""
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    return folder / "bin" / "python"


def install(python: Path, *what: str) -> None:
    """Install by the pip of an environment.

    Raises:
        subprocess.CalledProcessError: it cannot be installed; ``stderr`` says why.
    """
    quiet = ["-q", "--disable-pip-version-check", "--no-input"]
    command = [str(python), "-m", "pip", "install", *quiet, *what]
    subprocess.run(command, check=True, capture_output=True, text=True, env=apart())


def apart() -> dict[str, str]:
    """The environment variables without those that would bring this checkout in."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def packages_in(python: Path) -> dict[str, int]:
    """Bytes of an environment's packages by folder, largest first; pip's own left out."""
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    found = subprocess.run([str(python), "-c", where], check=True, capture_output=True, text=True)
    sizes = {}
    for path in Path(found.stdout.strip()).iterdir():
        if path.name.partition("-")[0] not in ("pip", "setuptools", "pkg_resources", "__pycache__"):
            files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
            sizes[path.name] = sum(file.stat().st_size for file in files)
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))
