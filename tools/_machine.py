"""What a benchmark ran on: processor, cores, versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path


def machine() -> dict[str, str | int | None]:
    """The processor's name, the number of cores, and the versions that matter."""
    cpus = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (cpus.read_text().splitlines() if cpus.exists() else [])
        if line.startswith("model name")
    ]
    packages = ("tvbank", "numpy", "numba", "zarr", "torch", "safetensors")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **versions,
    }
