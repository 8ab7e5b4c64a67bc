"""The task vector: a fine-tune beside the base of a bank, tensor by tensor.

==================  ======================================================================
``pairing.py``      ``Pairing``: which tensor of a checkpoint stands for which unit
``base_model.py``   ``BaseModel``: the base against the layout's fingerprints
``task_vector.py``  ``TaskVector``: what becomes entries, and what is kept whole
``names.py``        what the name of a tensor tells: a buffer, a tie, a constant, a prefix
``evidence.py``     what its numbers tell: a buffer, a bare difference
==================  ======================================================================
"""

from tvbank.vector.base_model import BaseModel
from tvbank.vector.task_vector import TaskVector

__all__ = ["BaseModel", "TaskVector"]
