"""Reports: what a fine-tune's accuracy costs in bytes.

==============  ===========================================================================
``_points.py``  ``Point``; ``frontier``: the points that no other one beats; ``by_knob``: lines of
                them; ``draw``: all as a picture, PNG, SVG or PDF (needs matplotlib)
``_sweep.py``   ``sweep``: a fine-tune in many sizes, each scored by the user's own function;
                what has no score is a ``Failure``
==============  ===========================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.reporting._points import Point as Point
    from tvbank.reporting._points import by_knob as by_knob
    from tvbank.reporting._points import check_picture as check_picture
    from tvbank.reporting._points import draw as draw
    from tvbank.reporting._points import frontier as frontier
    from tvbank.reporting._sweep import Failure as Failure
    from tvbank.reporting._sweep import Sweep as Sweep
    from tvbank.reporting._sweep import sweep as sweep

__all__ = ["Failure", "Point", "Sweep", "by_knob", "check_picture", "draw", "frontier", "sweep"]

__getattr__ = lazy_exports(
    __name__,
    {
        "Failure": "_sweep",
        "Point": "_points",
        "Sweep": "_sweep",
        "by_knob": "_points",
        "check_picture": "_points",
        "draw": "_points",
        "frontier": "_points",
        "sweep": "_sweep",
    },
)
