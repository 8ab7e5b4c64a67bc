"""Write a folder aside, and let it appear when it is whole.

A new folder is written beside its place and renamed. Into one that is there already, what was
written is moved file by file; the file without which nobody takes the folder for a model comes
last. A killed writer leaves a folder ``….tmp-<hexadecimal digits>``, which the next writer of
the same one removes: a writer holds its lock as long as it lives.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tvbank._atomic import (
    TEMPORARY,
    Refusal,
    cannot_write,
    is_locked_out,
    remove_leftovers,
    sync_folder,
)

__all__ = ["files_in", "folder_aside", "sweep"]


@contextmanager
def folder_aside(
    path: Path, last: str, stale: Callable[[str], bool], refusal: Refusal = cannot_write
) -> Iterator[Path]:
    """A folder to write into, which takes its place when the ``with`` block ends without an error.

    When the block raises, what was written is removed, and the place stays as it was.

    Args:
        path: the place; may be a folder with files, of which those of the same names are replaced.
        last: name of the file that is moved last into a folder that is there.
        stale: whether a file of the place, by its name, is removed before.
        refusal: makes the exception for a path that the system refuses.
    """
    path = Path(os.path.abspath(path))
    if os.path.islink(path):
        path = path.resolve()
    with _refusals(path, refusal):
        sweep(path)
        inside = path.is_dir()
        ending = f".tmp-{secrets.token_hex(8)}"
        aside = path / ending if inside else path.parent / (path.name + ending)
        aside.mkdir()
    lock = -1
    if sys.platform != "win32":
        with suppress(OSError):  # a file system without locks
            lock = os.open(aside, os.O_RDONLY)
            is_locked_out(lock)
    try:
        yield aside
        with _refusals(path, refusal):
            _sync_below(aside)
            if inside:
                _move_into(path, aside, last, stale)
            else:
                os.rename(aside, path)
                sync_folder(path.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        if lock >= 0:
            os.close(lock)


def sweep(path: Path) -> None:
    """Remove what killed writers of a folder left, beside it and in it."""
    remove_leftovers(path.parent, path.name, folders=True)
    if path.is_dir():
        remove_leftovers(path, "", folders=True)


def files_in(path: Path) -> list[str]:
    """Names in a folder, in order, without what its writers left or are writing.

    Raises:
        OSError: it cannot be read.
    """
    return sorted(name for name in os.listdir(path) if not TEMPORARY.search(name))


def _move_into(path: Path, aside: Path, last: str, stale: Callable[[str], bool]) -> None:
    """Move files into a folder; at no time it has the last one beside others of another writing."""
    old = [name for name in files_in(path) if stale(name) and (path / name).is_file()]
    for name in (last, *old):
        (path / name).unlink(missing_ok=True)
    sync_folder(path)
    for folder, _folders, names in os.walk(aside):
        place = path / Path(folder).relative_to(aside)
        place.mkdir(exist_ok=True)
        for name in names:
            if Path(folder, name) != aside / last:
                os.replace(Path(folder, name), place / name)
        sync_folder(place)
    os.replace(aside / last, path / last)
    sync_folder(path)


def _sync_below(folder: Path) -> None:
    for each, _folders, _names in os.walk(folder):
        sync_folder(Path(each))


@contextmanager
def _refusals(path: Path, refusal: Refusal) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise refusal(path, error) from error
