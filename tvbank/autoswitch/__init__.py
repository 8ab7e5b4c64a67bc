"""A base and a bank as one model that picks the task of every input by itself.

    auto = tvbank.AutoSwitch(model, bank, "router")
    logits = auto(images)

==============  ===========================================================================
``_auto.py``    ``AutoSwitch``: what users hold
``_route.py``   the cascade of routers, its decision on a batch, and ``Routing``, the report
``_choice.py``  from weights to groups of examples, and what the model becomes for each
``_batch.py``   inputs, of which some examples are taken, and outputs, put back in order
``_axes.py``    which outputs have examples along dimension 0
``_reuse.py``   modules whose outputs of the first pass serve in the second
==============  ===========================================================================

Above ``switching`` and ``routing``, which do not know each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.autoswitch._auto import AutoSwitch as AutoSwitch
    from tvbank.autoswitch._route import Routing as Routing

__all__ = ["AutoSwitch", "Routing"]

__getattr__ = lazy_exports(__name__, {"AutoSwitch": "_auto", "Routing": "_route"})
