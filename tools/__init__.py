"""What measures tvbank, makes its test vectors and its site, and what tries to break it.

============  ==============================================================================
``bench/``    every benchmark, and the recipes of the data: ``python -m tools.bench NAME``
``vectors/``  the generator of spec/vectors: ``python -m tools.vectors``
``docs/``     the documentation site: ``python -m tools.docs build``
``fuzz/``     every reader of a stranger's bytes, with coverage: ``python -m tools.fuzz``
``release/``  the wheel, the smallest install, other Pythons: ``python -m tools.release NAME``
``soak/``     kills, flips, writers, switching, memory, scale: ``python -m tools.soak NAME``
============  ==============================================================================

``python -m tools.conversions`` lists what transformers does to files when it loads them, by type;
``python -m tools.chromium FOLDER`` fetches a browser for the tests of pages, if there is none;
constraints.txt pins the versions that everything here is run with.
"""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run_named(folder: str) -> None:
    """Run the module of ``tools/FOLDER`` that the first argument names; without one, list them all.

    A command is a module or a folder whose name has no underscore in front; the first line of its
    docstring says what it does.
    """
    commands = {}
    for path in sorted((ROOT / "tools" / folder).glob("[a-z]*")):
        if path.suffix == ".py":
            commands[path.stem] = path
        elif (path / "__main__.py").exists():
            commands[path.name] = path / "__main__.py"
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in commands:
        sys.argv = [f"python -m tools.{folder} {name}", *arguments]
        runpy.run_module(f"tools.{folder}.{name}", run_name="__main__", alter_sys=False)
        return
    for command, path in commands.items():
        about = ast.get_docstring(ast.parse(path.read_text())) or ""
        print(f"{command:12} {about.splitlines()[0]}")
    if name not in ("-h", "--help"):
        sys.exit(f"no {name!r} among these: python -m tools.{folder} NAME [options]")


def borrow_tests() -> None:
    """Make the helpers of the tests importable: banks, servers, writers, the victim of kills."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "e2e")]
