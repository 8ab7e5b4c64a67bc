"""FlexSwitch: what to keep, in how many bits, at what scale, learned from examples ([F] Eq. 6-15).

==================  ====================================================================
``_flexswitch.py``  ``FlexSwitch``, the compressor: settings, checks, one run
``_learn.py``       the optimisation: teacher, steps
``_schedule.py``    how fast gates and widths harden
``_state.py``       the learned scalars and Adam's moments, saved and restored
``_student.py``     the model, run under other weights without being touched
``_units.py``       soft weights of all units out, gradients in, on all cores
``_gates.py``       thresholds, levels and widths of one unit as functions of its scalars
``_kernels.py``     one pass over entries: soft weights, gradients, hard entries
``_facts.py``       smallest and largest magnitude of each sign
``_losses.py``      KL, MSE, CKA
``_rates.py``       what size costs: the paper's terms, or bytes
``_meter.py``       exact bytes while learning; budgets
``_learned.py``     the outcome: hard gates, one width a unit
``_progress.py``    what is reported after each step; a bar
==================  ====================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.flexswitch._flexswitch import FlexSwitch as FlexSwitch
    from tvbank.flexswitch._progress import Step as Step
    from tvbank.flexswitch._progress import step_bar as step_bar

__all__ = ["FlexSwitch", "Step", "step_bar"]

__getattr__ = lazy_exports(
    __name__, {"FlexSwitch": "_flexswitch", "Step": "_progress", "step_bar": "_progress"}
)
