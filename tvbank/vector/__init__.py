"""The task vector: a fine-tune beside the base of a bank, tensor by tensor.

==================  ======================================================================
``pairing.py``      ``Pairing``: which tensor of a checkpoint stands for which unit
``base_model.py``   ``BaseModel``: the base against the layout's fingerprints
``fine_tune.py``    ``FineTune``: a checkpoint beside the base
``task_vector.py``  ``TaskVector``: what of it becomes entries, and what is kept whole
``evidence.py``     what its numbers tell: a buffer, a bare difference
==================  ======================================================================
"""

from tvbank.vector.base_model import BaseModel, base_beside
from tvbank.vector.fine_tune import FineTune, Missing, patterns_of
from tvbank.vector.task_vector import TaskVector, sort_tensors

__all__ = [
    "BaseModel",
    "FineTune",
    "Missing",
    "TaskVector",
    "base_beside",
    "patterns_of",
    "sort_tensors",
]
