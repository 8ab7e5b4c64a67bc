"""What is imported from where: optional packages, and never a module of the current folder.

A Python file beside a downloaded model must not run because ``tvbank`` was started there. Options
that name the user's own module (``--evaluate``, ``--model``) put the folder back for its import.

Torch is a package that only some of tvbank needs; what needs it says so where it is missing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tvbank.errors import MissingPackageError

#: The extra of tvbank that brings each package which only some of it needs.
_EXTRAS = {"torch": "torch", "numba": "fast"}

#: numba reads ``.numba_config.yaml`` of the current folder, unless the environment says otherwise;
#: these two members name a folder of pickles and classes to import. Empty is numba's own default.
_NUMBA = ("NUMBA_CACHE_DIR", "NUMBA_CACHE_LOCATOR_CLASSES")


def import_path() -> list[str]:
    """Python's import path without the current folder.

    The current folder stays only where it was named in full: as an absolute path in ``PYTHONPATH``,
    or as the place of tvbank itself.
    """
    kept = {*_named(), str(Path(__file__).parents[1])}
    return [
        path
        for path in dict.fromkeys(sys.path)
        if path in kept or (os.path.isabs(path) and not _is_current(path))
    ]


def _named() -> list[str]:
    """What ``PYTHONPATH`` names in full; relative and empty entries mean the current folder."""
    return list(filter(os.path.isabs, os.environ.get("PYTHONPATH", "").split(os.pathsep)))


def _is_current(path: str) -> bool:
    try:
        return os.path.samefile(path, os.curdir)
    except OSError:  # no such folder, or the current one was removed
        return False


def shut_out_current_folder() -> None:
    """Keep the current folder out of the imports of this process, a program of tvbank's own."""
    sys.path[:] = import_path()
    for name in _NUMBA:
        os.environ.setdefault(name, "")


def environment_of_child() -> dict[str, str]:
    """The environment in which a process finds the modules that this one finds, and no others."""
    paths = [path for path in (*import_path(), *_named()) if os.pathsep not in path]
    numba = {name: os.environ.get(name, "") for name in _NUMBA}
    path = os.pathsep.join(dict.fromkeys(paths))
    return {**os.environ, **numba, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


@contextmanager
def importing_from(folder: str) -> Iterator[None]:
    """Look for modules in this folder first, within the block."""
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


@contextmanager
def needed_by(what: str) -> Iterator[None]:
    """Import within the block what only some of tvbank needs.

    Args:
        what: needs it, in words that begin the error.

    Raises:
        MissingPackageError: a package is not installed that an extra of tvbank brings.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise missing_package(error, what) or error from None


def missing_package(error: ModuleNotFoundError, what: str) -> MissingPackageError | None:
    """The error to show in another's place, if an extra of tvbank brings what is missing."""
    package = (error.name or "").partition(".")[0]
    if package not in _EXTRAS:
        return None
    return MissingPackageError(
        f"{what} needs {package}, which is not installed: pip install 'tvbank[{_EXTRAS[package]}]'"
    )
