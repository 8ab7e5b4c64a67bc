"""FlexSwitch: what to keep, in how many bits, at what scale, learned from examples ([F] Eq. 6-15).

==================  ====================================================================
``_flexswitch.py``  ``FlexSwitch``, the compressor: settings, checks, one run
``_learn.py``       the optimisation: teacher, batches, gradients; ``Step``, shown meanwhile
``_relaxation.py``  what is learned of units, as the optimisation sees it: one of
``gated/``          the paper's: soft gates that harden, a mixture of bit widths
``drawn/``          by bytes: entries drawn by chance, as they will be stored
``_state.py``       the learned scalars and Adam's moments, saved and restored
``_student.py``     the model, run under other weights without being touched
``_weights.py``     weights of all units for it, block by block on all cores
``_losses.py``      KL, MSE, CKA
==================  ====================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.flexswitch._flexswitch import FlexSwitch as FlexSwitch
    from tvbank.flexswitch._learn import Step as Step

__all__ = ["FlexSwitch", "Step"]

__getattr__ = lazy_exports(__name__, {"FlexSwitch": "_flexswitch", "Step": "_learn"})
