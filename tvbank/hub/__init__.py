"""Banks on the Hugging Face hub: ``push`` writes one into a repository; ``hf://`` URLs read it.

=============  ===========================================================================
``_push.py``   ``push``: what of a bank goes where, as one commit
``_api.py``    the hub's own library, and what its errors mean
``_card.py``   the card: its tasks, its base, and the lines that read it
=============  ===========================================================================

Reading is a store like others: ``tvbank/storage/hub.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.hub._push import PushReport as PushReport
    from tvbank.hub._push import push as push

__all__ = ["PushReport", "push"]

__getattr__ = lazy_exports(__name__, dict.fromkeys(__all__, "_push"))
