"""Many fine-tunes into one bank, on many workers.

=================  ==========================================================================
``manifest.py``    what the bank is to hold: ``read_manifest``
``_build.py``      ``build`` and ``preview``
``_parents.py``    which tasks start from which
``_director.py``   hands out jobs, gathers results, publishes finished tasks; the report
``_task.py``       one task: its jobs, the folder of their results, the revision they make
``_results.py``    results that an earlier build left, held to their jobs
``_sources.py``    the base and the fine-tunes as jobs carry them, kept open by workers
``_jobs.py``       what workers do
``_workers.py``    the interface to workers; processes of this machine
``_worker.py``     the program of such a process
``_dask.py``       workers of a dask.distributed cluster
=================  ==========================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.building._build import build as build
    from tvbank.building._build import preview as preview
    from tvbank.building._director import BuildReport as BuildReport
    from tvbank.building.manifest import Manifest as Manifest
    from tvbank.building.manifest import PlannedTask as PlannedTask
    from tvbank.building.manifest import read_manifest as read_manifest

_OWNERS = {
    "BuildReport": "_director",
    "Manifest": "manifest",
    "PlannedTask": "manifest",
    "build": "_build",
    "preview": "_build",
    "read_manifest": "manifest",
}

__all__ = [
    "BuildReport",
    "Manifest",
    "PlannedTask",
    "build",
    "preview",
    "read_manifest",
]

__getattr__ = lazy_exports(__name__, _OWNERS)
