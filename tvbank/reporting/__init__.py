"""Reports: what is in a bank, what a fine-tune changed, and what its accuracy costs in bytes.

================  =========================================================================
``_bank.py``      ``report``: what is in a bank
``_compare.py``   ``compare``: what a fine-tune changed, from two checkpoints
``facts.py``      ``Report``, ``Change`` and all that they hold, as plain data
``_measure.py``   one pass over the frames of all tasks; ``_loops.py`` its compiled loops,
                  ``_totals.py`` what it adds up
``_routers.py``   what is known of routers
``_places.py``    a unit's layer and module, by its name
``page.py``       the page: HTML from the folder ``templates``
``_sections.py``  what the page of a bank has, in its order; ``_change_sections.py`` that of two
                  checkpoints; ``_maps.py`` layer × module maps
``figures.py``    heat maps, bars and tables before they are drawn
``_svg.py``       draws them in the page
``_pictures.py``  ``draw_pictures``: draws them as files, SVG or PNG (needs matplotlib)
``_points.py``    ``Point``; ``frontier``: the points that no other one beats; ``by_knob``: lines
                  of them; ``draw``: all as a picture, PNG, SVG or PDF (needs matplotlib)
``_sweep.py``     ``sweep``: a fine-tune in many sizes, each scored by the user's own function;
                  what has no score is a ``Failure``
``_tolerance.py`` ``within_tolerance``: the smallest size that loses no more than is allowed
================  =========================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.reporting._bank import report as report
    from tvbank.reporting._compare import compare as compare
    from tvbank.reporting._pictures import draw_pictures as draw_pictures
    from tvbank.reporting._points import Point as Point
    from tvbank.reporting._points import by_knob as by_knob
    from tvbank.reporting._points import check_picture as check_picture
    from tvbank.reporting._points import draw as draw
    from tvbank.reporting._points import frontier as frontier
    from tvbank.reporting._sweep import Failure as Failure
    from tvbank.reporting._sweep import Sweep as Sweep
    from tvbank.reporting._sweep import sweep as sweep
    from tvbank.reporting._tolerance import within_tolerance as within_tolerance
    from tvbank.reporting.facts import Change as Change
    from tvbank.reporting.facts import EncodingCosts as EncodingCosts
    from tvbank.reporting.facts import ExtraFacts as ExtraFacts
    from tvbank.reporting.facts import PairFacts as PairFacts
    from tvbank.reporting.facts import ProductFacts as ProductFacts
    from tvbank.reporting.facts import Report as Report
    from tvbank.reporting.facts import RouterFacts as RouterFacts
    from tvbank.reporting.facts import TaskFacts as TaskFacts
    from tvbank.reporting.facts import Trimmed as Trimmed
    from tvbank.reporting.facts import UnitChange as UnitChange
    from tvbank.reporting.facts import UnitFacts as UnitFacts

_OWNERS = {
    "Change": "facts",
    "EncodingCosts": "facts",
    "ExtraFacts": "facts",
    "Failure": "_sweep",
    "PairFacts": "facts",
    "Point": "_points",
    "ProductFacts": "facts",
    "Report": "facts",
    "RouterFacts": "facts",
    "Sweep": "_sweep",
    "TaskFacts": "facts",
    "Trimmed": "facts",
    "UnitChange": "facts",
    "UnitFacts": "facts",
    "by_knob": "_points",
    "check_picture": "_points",
    "compare": "_compare",
    "draw": "_points",
    "draw_pictures": "_pictures",
    "frontier": "_points",
    "report": "_bank",
    "sweep": "_sweep",
    "within_tolerance": "_tolerance",
}

__all__ = sorted(_OWNERS)

__getattr__ = lazy_exports(__name__, _OWNERS)
