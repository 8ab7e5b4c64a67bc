"""Which task an input belongs to: features of the base, neighbours among examples, shares.

>>> found = {task: tvbank.routing.features(model, some) for task, some in examples.items()}
>>> router = tvbank.Router.fit(found, neighbours=10, seed=0)
>>> router.weights(tvbank.routing.features(model, inputs)).shape
(8, 2)

====================  =======================================================================
``recipe.py``         ``Recipe``: from where in a model the features come
``_features.py``      ``features``: what modules return, pooled to one row an example
``_forward.py``       forward passes: batches, and hooks that keep what modules return
``router.py``         ``Router``: what users hold
``_examples.py``      checks the features that it is fitted to; k-means centres of them
``_metric.py``        ``Metric``, shrinkage LDA; ``FitOptions``, how a router is fitted
``_learned.py``       refines the metric by [F] Eq. 19
``_neighbours.py``    the keys nearest to an input, and what they say of it
``_held_out.py``      examples held out in turn: the spread, and when an input is of no task
``_confusion.py``     ``confusion``: which tasks a router takes for each other
``_confidence.py``    how likely each task is, for an input or in a whole batch
``_fit.py``           ``fit``: a router from inputs, its layer chosen among ``_layers.py``
``vectors.py``        ``VectorRouter``: no examples, the task vectors themselves tell
``cascade.py``        ``Cascade``: a deeper router only where a shallow one is unsure
====================  =======================================================================

Knows nothing of banks; returns weights and indices, and leaves merging to others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.routing._confusion import Confusion as Confusion
    from tvbank.routing._confusion import confusion as confusion
    from tvbank.routing._features import features as features
    from tvbank.routing._fit import Fitted as Fitted
    from tvbank.routing._fit import LayerScore as LayerScore
    from tvbank.routing._fit import fit as fit
    from tvbank.routing.cascade import Cascade as Cascade
    from tvbank.routing.recipe import Recipe as Recipe
    from tvbank.routing.router import Router as Router
    from tvbank.routing.vectors import VectorRouter as VectorRouter

__all__ = [
    "Cascade", "Confusion", "Fitted", "LayerScore", "Recipe", "Router", "VectorRouter", "confusion",
    "features", "fit",
]  # fmt: skip

__getattr__ = lazy_exports(
    __name__,
    {
        "Cascade": "cascade", "Confusion": "_confusion", "Fitted": "_fit", "LayerScore": "_fit",
        "Recipe": "recipe", "Router": "router", "confusion": "_confusion", "features": "_features",
        "fit": "_fit", "VectorRouter": "vectors",
    },
)  # fmt: skip
