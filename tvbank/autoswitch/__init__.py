"""A base and a bank as one model that picks the task of every input by itself.

>>> with tvbank.AutoSwitch(model, bank, "router") as auto:
...     logits = auto(inputs)
>>> logits.shape
torch.Size([8, 32])

Of a model that generates text, ``auto.generate(input_ids, attention_mask=mask)`` likewise.

================  =========================================================================
``_auto.py``      ``AutoSwitch``: what users hold
``_model.py``     what else libraries ask of a model: where it is, its configuration
``_route.py``     the cascade of routers, its decision on a batch, and ``Routing``, the report
``_vectors.py``   ``vector_router``: a router of the bank's own task vectors
``_choice.py``    from weights to groups of examples, and what the model becomes for each
``_looks.py``     further likely tasks for examples whose answer is unsure; the surest stays
``_batch.py``     inputs, of which some examples are taken, and outputs, put back in order
``_generate.py``  prompts, told from options, and what was generated, put back in their order
``_axes.py``      which outputs have examples along dimension 0
``_reuse.py``     modules whose outputs of the first pass serve in the second
================  =========================================================================

Above ``switching`` and ``routing``, which do not know each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.autoswitch._auto import AutoSwitch as AutoSwitch
    from tvbank.autoswitch._route import Routing as Routing
    from tvbank.autoswitch._vectors import vector_router as vector_router

__all__ = ["AutoSwitch", "Routing", "vector_router"]

__getattr__ = lazy_exports(
    __name__, {"AutoSwitch": "_auto", "Routing": "_route", "vector_router": "_vectors"}
)
