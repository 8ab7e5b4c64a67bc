"""The command line: ``tvbank VERB BANK …``.

==================  =======================================================================
``_app.py``         the program, its exit status, and how errors are shown
``_output.py``      tables, JSON, sizes
``_arguments.py``   arguments and options that several verbs share, and what they name
``_named.py``       Python objects named as ``module:name``
``building.py``     ``init``, ``add``, ``rm``, ``gc``
``build.py``        ``build``
``copying.py``      ``cp``, ``pack``, ``push``
``inspecting.py``   ``inspect``
``reading.py``      ``ls``, ``show``, ``verify``
``repair.py``       ``repair``
``report.py``       ``report``
``routers.py``      ``routers``
``weights.py``      ``export``, ``merge``
``updates.py``      ``diff``, ``patch``, ``follow``
``sweep.py``        ``sweep``
``demo.py``         ``demo``
==================  =======================================================================

Exit status: 0, 1 if the bank or the data is at fault, 2 if the command line is.
"""

from __future__ import annotations

from tvbank.cli._app import app as app
from tvbank.cli._app import main as main

__all__ = ["app", "main"]
