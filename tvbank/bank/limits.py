"""How much memory this process may have: the machine's, or less where somebody has set a limit.

Containers and service managers limit control groups (cgroups, version 1 or 2), one within another;
shells and batch systems limit the process itself (``ulimit -v``). The lowest one counts.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

#: Files of a group, of cgroups version 2 and 1: beyond them the kernel kills, or stops to reclaim.
_FILES = ("memory.max", "memory.high", "memory.limit_in_bytes")

_OCTAL = re.compile(r"\\([0-7]{3})")


def memory_limit() -> float:
    """Bytes of memory that this process can have at most, infinite where the system does not tell.

    The groups' limits are read once a process.
    """
    return min(_machine(), _groups(), _process())


@cache
def _machine() -> float:
    try:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return math.inf


@cache
def _groups() -> float:
    return group_limit(Path("/"))


def _process() -> float:
    try:
        import resource
    except ImportError:  # there is none on Windows
        return math.inf
    softs = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    return float(min((soft for soft in softs if soft != resource.RLIM_INFINITY), default=math.inf))


def group_limit(root: Path) -> float:
    """The lowest limit of this process's control group and of all groups around it, in bytes.

    Args:
        root: of the file system, where ``proc`` and ``sys`` are.
    """
    limits = [math.inf]
    for folder in _folders(root):
        for name in _FILES:
            try:
                limits.append(float((folder / name).read_text("ascii")))
            except (OSError, ValueError):  # not there, or "max"
                continue
    return min(limits)


def _folders(root: Path) -> Iterator[Path]:
    """The folders of this process's group, and of those around it as far as they can be seen."""
    own = dict(_own_groups(root))
    for kind, mounted, top in _mounts(root):
        if kind in own:
            below = own[kind].removeprefix(top.rstrip("/")) if own[kind].startswith(top) else ""
            parts = [part for part in below.split("/") if part and part != ".."]
            for end in range(len(parts) + 1):
                yield root.joinpath(mounted.lstrip("/"), *parts[:end])


def _own_groups(root: Path) -> Iterator[tuple[str, str]]:
    """Kind of hierarchy (see ``_mounts``) and path in it of this process's groups."""
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            yield "cgroup2", path
        elif "memory" in controllers.split(","):
            yield "cgroup", path


def _mounts(root: Path) -> Iterator[tuple[str, str, str]]:
    """``cgroup`` or ``cgroup2``, where it is mounted, and the group that is seen there."""
    for line in _lines(root / "proc/self/mountinfo"):
        where, _, what = line.partition(" - ")
        fields, kinds = where.split(" "), what.split(" ")
        if len(fields) < 5 or len(kinds) < 3:
            continue
        if kinds[0] == "cgroup2" or (kinds[0] == "cgroup" and "memory" in kinds[2].split(",")):
            yield kinds[0], _plain(fields[4]), _plain(fields[3])


def _plain(path: str) -> str:
    """A path of the mount table, in which spaces and the like are octal."""
    return _OCTAL.sub(lambda octal: chr(int(octal[1], 8)), path)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
