"""Read checkpoints of every common kind tensor by tensor; write safetensors files as a stream.

===================== ============================================================================
``Checkpoint``        the interface: ``.tensors``, ``.tied``, ``.read(name)``  (``_checkpoint``)
``TensorSpec``        name, element type and shape of one tensor  (``_spec``)
``open_checkpoint``   state dict, module, file or folder -> ``Checkpoint``  (``_open``)
``borrow_checkpoint`` the same in a ``with`` block, leaving open what was open  (``_open``)
===================== ============================================================================

One kind a file: ``_state_dict`` (with ``_torch_tensor`` and ``_numpy_array``), ``_safetensors``
(with ``_safetensors_header``). Nothing read here is ever unpickled or executed, and torch is
imported only for torch's own files.
"""

from __future__ import annotations

from tvbank.checkpoint._checkpoint import Checkpoint as Checkpoint
from tvbank.checkpoint._open import CheckpointSource as CheckpointSource
from tvbank.checkpoint._open import borrow_checkpoint as borrow_checkpoint
from tvbank.checkpoint._open import open_checkpoint as open_checkpoint
from tvbank.checkpoint._spec import TensorSpec as TensorSpec

__all__ = [
    "Checkpoint",
    "CheckpointSource",
    "TensorSpec",
    "borrow_checkpoint",
    "open_checkpoint",
]
