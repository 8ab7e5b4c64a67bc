"""The threads that torch's own operations run on, for loops that need no GIL.

After an operation torch's threads wait for the next one at full speed for some milliseconds. A
thread of ours would have to share their cores with them, and a new one waits until the system
takes a core from them: that is longer than a whole switch. So the loops are handed to
torch's threads, by the function of the OpenMP runtime that compiled parallel loops call.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

#: Function, its argument, number of threads: calls it once on each; returns when all are done.
Team = Callable[[int, int, int], None]

#: The runtime of a process that was forked from this one would wait for threads of the parent.
_PROCESS = os.getpid()
_NO_FLAGS = 0


def torch_team() -> Team | None:
    """What runs a function of C on torch's threads.

    ``None`` where they cannot be had: on other systems, with other builds of torch, and in a
    process that was forked.
    """
    return _find_team() if os.getpid() == _PROCESS else None


@cache
def _find_team() -> Team | None:
    openmp: Any = torch.backends.openmp
    if sys.platform != "linux" or not openmp.is_available():
        return None
    try:
        # Loaded already; the runtime is found among the libraries that it depends on.
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        parallel = library.GOMP_parallel
    except (OSError, AttributeError):
        return None
    parallel.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    parallel.restype = None

    def run(function: int, argument: int, threads: int) -> None:
        parallel(function, argument, threads, _NO_FLAGS)

    return run
