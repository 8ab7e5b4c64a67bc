"""One target under atheris: ``python -m tools.fuzz._child TARGET CORPUS [libFuzzer's flags]``."""

from __future__ import annotations

import hashlib
import importlib
import sys
from pathlib import Path
from typing import Any

import atheris

from tools.fuzz import TARGETS
from tools.fuzz._sources import compiled_modules


def load(name: str) -> Any:
    """Import a target, and what it fuzzes with counters of coverage."""
    interpreted = TARGETS[name].interpreted
    excluded = [] if interpreted else compiled_modules()
    with atheris.instrument_imports(include=["tvbank", "spec"], exclude=excluded):
        if interpreted:
            from tools.fuzz._interpreted import interpret

            interpret()
        return importlib.import_module(f"tools.fuzz.targets.{name}")


def main() -> None:
    name, corpus, *flags = sys.argv[1:]
    target = load(name)
    folder = Path(corpus)
    folder.mkdir(parents=True, exist_ok=True)
    largest = 1
    for seed in target.seeds():
        target.check(seed)  # also compiles what is not compiled yet, which no input is to blame for
        (folder / f"seed-{hashlib.sha256(seed).hexdigest()[:16]}").write_bytes(seed)
        largest = max(largest, len(seed))
    arguments = [sys.argv[0], corpus, f"-max_len={2 * largest}", *flags]
    mutate = getattr(target, "mutate", None)
    extra = {} if mutate is None else {"custom_mutator": mutate}
    atheris.Setup(arguments, target.check, **extra)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
