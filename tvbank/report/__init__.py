"""Reports: what a fine-tune's accuracy costs in bytes.

=================  ==================================================================
``_frontier.py``   ``Point``, ``frontier``: which points no other one beats
``_sweep.py``      ``sweep``: a fine-tune in many sizes, each scored by one's own function
``_picture.py``    ``draw``: points as a picture, PNG or SVG (needs matplotlib)
=================  ==================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.report._frontier import Point as Point
    from tvbank.report._frontier import frontier as frontier
    from tvbank.report._picture import draw as draw
    from tvbank.report._sweep import Sweep as Sweep
    from tvbank.report._sweep import sweep as sweep

__all__ = ["Point", "Sweep", "draw", "frontier", "sweep"]

__getattr__ = lazy_exports(
    __name__,
    {
        "Point": "_frontier",
        "Sweep": "_sweep",
        "draw": "_picture",
        "frontier": "_frontier",
        "sweep": "_sweep",
    },
)
