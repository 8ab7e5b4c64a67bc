"""Running a command and watching its memory: what it holds, beside pages of files."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

#: Between two looks at a process, in seconds.
INTERVAL = 0.005


@dataclass(frozen=True)
class Watched:
    """What a command took.

    Attributes:
        seconds: of wall-clock time.
        cpu_seconds: of all cores together.
        anonymous: the most bytes of memory of its own seen at any look (``RssAnon`` and
            ``RssShmem`` of /proc/PID/status). Everything else that is resident, ``RssFile``, are
            pages of files: the page cache, which the system takes back when it needs them.
        resident: the most bytes resident at any moment, pages of files included, as the kernel
            counts it (``VmHWM``).
    """

    seconds: float
    cpu_seconds: float
    anonymous: int
    resident: int


def watch(command: list[str], environment: dict[str, str], limit: int | None) -> Watched:
    """Run a command to its end.

    Args:
        command: the program and its arguments.
        environment: added to this process's own.
        limit: bytes of private writable memory after which the kernel refuses more
            (``RLIMIT_DATA``): a command that ends well under it needed no look to be believed.

    Raises:
        RuntimeError: it failed; with what it wrote to standard error.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    with subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=None if limit is None else _limiter(limit),
    ) as process:
        anonymous = resident = 0
        while process.poll() is None:
            status = _status(process.pid)
            anonymous = max(anonymous, status.get("RssAnon", 0) + status.get("RssShmem", 0))
            resident = max(resident, status.get("VmHWM", 0))
            time.sleep(INTERVAL)
        seconds = time.perf_counter() - start
        assert process.stderr is not None
        errors = process.stderr.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {errors.strip()[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Watched(seconds, cpu, anonymous, resident)


def _limiter(limit: int) -> Callable[[], None]:
    def apply() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    return apply


def _status(process: int) -> dict[str, int]:
    """The figures in kB of /proc/PID/status, as bytes; none once the process has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    fields = (line.split() for line in lines)
    return {f[0].rstrip(":"): int(f[1]) * 1024 for f in fields if f[-1:] == ["kB"]}
