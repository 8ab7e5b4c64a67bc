"""Adapters: small files that say how a base's weights change, as PEFT writes them.

=================  =====================================================================
``_open.py``       ``Adapter``: recognised, opened, its tensors by module and part
``_files.py``      LoRA in one file without a configuration: diffusers', kohya's
``_gguf.py``       LoRA in GGUF, as llama.cpp has it
``_config.py``     what its configuration says: kind, rank, scale of each module
``_places.py``     which unit of a layout a module's tensors are for
``_low_rank.py``   LoRA: products of two thin matrices, and what is kept whole
``_dense.py``      the other kinds: how each changes the weights of a unit
``_vera.py``       VeRA's projections, read or drawn again
``_merged.py``     base and adapter as one checkpoint, read unit by unit
``_peft.py``       an adapter written as PEFT reads it
``_svd.py``        the best adapter of a rank for a difference that was none
=================  =====================================================================
"""

from tvbank.adapters._low_rank import Bound, LowRank, bind
from tvbank.adapters._merged import MergedAdapter
from tvbank.adapters._open import Adapter, is_alone, open_adapter
from tvbank.adapters._peft import PeftFolder, is_embedding, is_turned, plain_config, write_peft
from tvbank.adapters._svd import Approximation, approximate

__all__ = [
    "Adapter",
    "Approximation",
    "Bound",
    "LowRank",
    "MergedAdapter",
    "PeftFolder",
    "approximate",
    "bind",
    "is_alone",
    "is_embedding",
    "is_turned",
    "open_adapter",
    "plain_config",
    "write_peft",
]
