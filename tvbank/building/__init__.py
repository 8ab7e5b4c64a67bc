"""Many fine-tunes into one bank, on many workers.

=================  ==========================================================================
``manifest.py``    what shall be in the bank: ``read_manifest``
``_build.py``      ``build`` and ``preview``
``_director.py``   hands out jobs, gathers results, has finished tasks published
``_task.py``       one task: its jobs, and the revision that their results make
``_jobs.py``       what workers do; ``_opened.py`` what they keep open meanwhile
``_workers.py``    the interface to workers
``_local.py``      processes of this machine, which run ``_worker.py``
``_dask.py``       a dask.distributed cluster
``_work.py``       the folder of what is not published yet
``_report.py``     what is told meanwhile and at the end
=================  ==========================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.building._build import build as build
    from tvbank.building._build import preview as preview
    from tvbank.building._report import BuildReport as BuildReport
    from tvbank.building.manifest import Manifest as Manifest
    from tvbank.building.manifest import PlannedTask as PlannedTask
    from tvbank.building.manifest import read_manifest as read_manifest

_OWNERS = {
    "BuildReport": "_report",
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
