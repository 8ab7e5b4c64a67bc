"""FlexSwitch: which entries, in how many bits, at what scale, learned from examples ([F] Eq. 6-15).

It comes in two halves, which differ in what is learned of a unit and in what its size costs:

==================  ====================================================================
``paper/``          the paper's: soft gates (LGS), a mixture of bit widths (BAS), Eq. 14
``bytes/``          by bytes: entries drawn at random, as they will be stored
==================  ====================================================================

Both are a ``Relaxation``, and are learned by the same loop:

==================  ====================================================================
``_flexswitch.py``  ``FlexSwitch``, the compressor: settings, checks, one run
``_inputs.py``      the examples: tensors, made of texts, data sets and the like
``_teacher.py``     the fine-tuned model's outputs, kept or made batch by batch
``_learn.py``       the loop: batches, masks, gradients; ``Step``, its progress
``_losses.py``      how far two sets of logits are apart: KL, MSE, CKA
``_relaxation.py``  what a half provides; the learned scalars, Adam, the resume file
``_resume.py``      reads a resume file, which may be a stranger's
``_student.py``     runs the model with other weights, without touching it
``_lending.py``     lends a large model its weights module by module
``_recompute.py``   gradient checkpointing with weights that are given to a call
``_weights.py``     makes those weights, block by block on all cores
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
