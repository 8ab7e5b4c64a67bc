"""``tvbank demo``: real fine-tunes of a real model go into a bank, come back out and are scored.

================  =======================================================================
``run.py``        ``run_demo``: all of it, in order
``pictures.py``   scikit-learn's digits, and the five questions that the fine-tunes answer
``model.py``      a small vision transformer, to and from files
``training.py``   the base, the linear probes and the fine-tunes
``routed.py``     a router in the bank: one live model answers pictures of all tasks
``result.py``     ``Settings``, the measured rows, and the claims that they must meet
``report.py``     the result on the screen
================  =======================================================================

torch and scikit-learn are imported when the demo runs, not with this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.demo.result import DemoResult as DemoResult
    from tvbank.demo.result import Settings as Settings
    from tvbank.demo.run import run_demo as run_demo

__all__ = ["DemoResult", "Settings", "run_demo"]

__getattr__ = lazy_exports(
    __name__, {"DemoResult": "result", "Settings": "result", "run_demo": "run"}
)
