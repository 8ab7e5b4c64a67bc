"""A base and a bank as one model that picks the task of every input by itself.

    auto = tvbank.AutoSwitch(model, bank, "router")
    logits = auto(images)

===============  ===========================================================================
``_auto.py``     ``AutoSwitch``: what users hold
``_routing.py``  ``Routing``: where the examples of a call went
``_stages.py``   what may stand for a router
``_route.py``    the stages of a cascade, each about what is left
``_choice.py``   from weights to groups of examples, and what the model becomes for each
``_batch.py``    inputs, and some of them
``_outputs.py``  outputs, back in order
``_reuse.py``    what the second pass has in common with the first
``_calls.py``    one call of a module that can be answered again
===============  ===========================================================================

Above ``switching`` and ``routing``, which do not know each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.autoswitch._auto import AutoSwitch as AutoSwitch
    from tvbank.autoswitch._routing import Routing as Routing

__all__ = ["AutoSwitch", "Routing"]

__getattr__ = lazy_exports(__name__, {"AutoSwitch": "_auto", "Routing": "_routing"})
