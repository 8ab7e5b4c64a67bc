"""``tvbank demo``: real fine-tunes of a real model go into a bank, come back out and are scored.

===================  =======================================================================
``run.py``           ``run_demo``: all of it, in order
``settings.py``      sizes, steps, margins; ``Settings()`` is what the command line runs
``folder.py``        what lies where; never writes over anything
``images.py``        scikit-learn's digits: real handwriting, split once into train and test
``tasks.py``         what the fine-tunes learn to tell
``model.py``         a small vision transformer, and a linear head
``training.py``      all of the training; leaves the base and the checkpoints as files
``pretrain.py``      the base: fill in hidden patches, without labels
``probe.py``         the best linear head on features that stay as they are
``finetune.py``      encoder and head, trained on one task
``optimise.py``      the one training loop
``reproducible.py``  same seed, same bits
``weights.py``       models to and from safetensors files
``banking.py``       into the bank; out of the bank, from disk
``claims.py``        what the demo claims, and whether it happened
``report.py``        rows, totals, the table, the JSON
``progress.py``      progress bars
===================  =======================================================================

torch and scikit-learn are imported when the demo runs, not with this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.demo.report import DemoResult as DemoResult
    from tvbank.demo.run import run_demo as run_demo
    from tvbank.demo.settings import Settings as Settings

__all__ = ["DemoResult", "Settings", "run_demo"]

__getattr__ = lazy_exports(
    __name__, {"DemoResult": "report", "Settings": "settings", "run_demo": "run"}
)
