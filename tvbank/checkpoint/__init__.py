"""Read checkpoints of every common kind tensor by tensor; write safetensors files as a stream.

======================= ========================================================================
``open_checkpoint``     path, URL, state dict or module -> ``Checkpoint``  (``_open``)
``borrow_checkpoint``   the same for a ``with`` block, leaving open what was open  (``_open``)
``CheckpointSource``    the type of what these two take  (``_open``)
``identify_checkpoint`` what changes when a checkpoint's files are written anew  (``_identity``)
``Checkpoint``          the interface: ``.tensors``, ``.tied``, ``.read(name)``  (``_checkpoint``)
``TensorSpec``          name, element type and shape of one tensor  (``_spec``)
``write_safetensors``   a file, whole or not at all  (``_write``)
``aligned_order``       the order of tensors that keeps a file's tensors aligned  (``_write``)
======================= ========================================================================

One kind of checkpoint a file: ``_state_dict`` (entries: ``_numpy_array``, ``_torch_tensor``),
``_safetensors`` (its header: ``_safetensors_header``), ``_torch_file``, ``_shards``; ``_remote``
reads either kind of safetensors under a URL, by range. A folder is resolved to one of its files by
``_folder``; ``_json`` reads what others wrote, and ``_files`` says what is wrong with a file.
Nothing read here is executed, and torch is imported only for files that torch wrote.
"""

from __future__ import annotations

from tvbank.checkpoint._checkpoint import Checkpoint as Checkpoint
from tvbank.checkpoint._identity import identify_checkpoint as identify_checkpoint
from tvbank.checkpoint._open import CheckpointSource as CheckpointSource
from tvbank.checkpoint._open import borrow_checkpoint as borrow_checkpoint
from tvbank.checkpoint._open import open_checkpoint as open_checkpoint
from tvbank.checkpoint._spec import TensorSpec as TensorSpec
from tvbank.checkpoint._write import aligned_order as aligned_order
from tvbank.checkpoint._write import write_safetensors as write_safetensors

__all__ = [
    "Checkpoint",
    "CheckpointSource",
    "TensorSpec",
    "aligned_order",
    "borrow_checkpoint",
    "identify_checkpoint",
    "open_checkpoint",
    "write_safetensors",
]
