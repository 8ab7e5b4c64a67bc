"""Every Python that is there, with the newest versions of what tvbank needs and the oldest allowed.

In each, the wheel is installed alone, and a bank that was written here is read, exported and
verified by plain Python; then with numba, and a bank is written there, too. With ``--torch`` torch
is installed, too, and a live model is switched.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from tools import ROOT
from tools.release._environment import apart, build, install, make_environment
from tools.release.reading import READS, check

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
NOT_TRIED = "not tried"

SWITCHES = """
import numpy, torch, tvbank
model = torch.nn.Linear(8, 8)
base = {name: value.detach().clone() for name, value in model.state_dict().items()}
tuned = {name: value + 0.01 * torch.randn_like(value) for name, value in base.items()}
bank = tvbank.create("live", base=base)
bank.add("t", tuned, compressor=tvbank.Exact())
with tvbank.attach(model, bank)("t"):
    assert all(torch.equal(value, tuned[name]) for name, value in model.state_dict().items())
assert all(torch.equal(value, base[name]) for name, value in model.state_dict().items())
"""


def oldest(requirements: list[str]) -> list[str]:
    """The oldest version that each requirement allows, as pip takes it."""
    pins = []
    for requirement in requirements:
        text, _, marker = requirement.partition(";")
        found = re.fullmatch(r"\s*([\w.-]+)>=([\d.]+)\s*", text)
        assert found, f"{requirement} has no lower bound alone"
        if "win32" not in marker:
            pins.append(f"{found[1]}=={found[2]}")
    return pins


def find_pythons() -> dict[str, str]:
    """The interpreters that are there, by version: on the path, or where pyenv keeps them."""
    found = {}
    for version in PYTHONS:
        places = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
        path = str(places[-1]) if places else shutil.which(f"python{version}")
        if path:
            found[version] = path
    return found


def has_wheel(inside: Path, pin: str) -> bool:
    """Whether an environment's Python can have one version of a package without building it."""
    try:
        install(inside, pin, "--dry-run", "--no-deps", "--only-binary", ":all:")
    except subprocess.CalledProcessError:
        return False
    return True


def attempt(python: str, wheel: Path, pins: list[str], with_torch: bool, written: Path) -> str:
    """Try one environment; empty if all of it works, else what went wrong, or was not tried."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            inside = make_environment(Path(folder) / "environment", python)
            (Path(folder) / "constraints.txt").write_text("\n".join(pins))
            constraints = ["-c", str(Path(folder) / "constraints.txt")]
            if pins:  # nothing is built: what came before a Python has no wheels for it
                constraints += ["--only-binary", ":all:"]
            install(inside, str(wheel), *constraints)
            check(inside, written, "read")
            install(inside, f"{wheel}[{'torch' if with_torch else 'fast'}]", *constraints)
            check(inside, Path(folder), "write", "read", block=["torch"])
            if with_torch:
                subprocess.run(
                    [str(inside), "-c", SWITCHES], check=True, capture_output=True, text=True,
                    cwd=folder, env=apart(),
                )  # fmt: skip
        except subprocess.CalledProcessError as error:
            text = str(error.stderr).strip()
            if lacking := [pin for pin in pins if not has_wheel(inside, pin)]:
                return f"{NOT_TRIED}: there are no wheels of {', '.join(lacking)} for it"
            return text.splitlines()[-1] if text else str(error)
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", action="append", help="only this interpreter; repeatable")
    parser.add_argument("--torch", action="store_true", help="with torch: gigabytes to download")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    pythons = {path: path for path in asked.python} if asked.python else find_pythons()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *extras["torch" if asked.torch else "fast"]]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        wheel = build(Path(folder))
        written = Path(folder) / "written"
        written.mkdir()
        write = [sys.executable, str(READS), "write", "--folder", str(written)]
        subprocess.run(write, check=True, stdout=subprocess.DEVNULL)
        for version, python in pythons.items():
            for what, pins in (("newest", []), ("oldest", oldest(needed))):
                problem = attempt(python, wheel, pins, asked.torch, written)
                rows.append({"python": version, "versions": what, "problem": problem})
                if not asked.json:
                    print(f"{version:8} {what:8} {problem or 'works'}", flush=True)
    for version in () if asked.python else sorted(set(PYTHONS) - set(pythons)):
        rows.append({"python": version, "versions": "", "problem": f"{NOT_TRIED}: not here"})
        if not asked.json:
            print(f"{version:8} {NOT_TRIED}: not here")
    if asked.json:
        print(json.dumps(rows, indent=2))
    if any(row["problem"] and not row["problem"].startswith(NOT_TRIED) for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
