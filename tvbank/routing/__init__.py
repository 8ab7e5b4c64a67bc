"""Which task an input belongs to: features of the base, neighbours among examples, shares.

    examples = {name: tvbank.routing.features(model, inputs[name]) for name in bank}
    router = tvbank.Router.fit(examples, neighbours=10, seed=0)
    weights = router.weights(tvbank.routing.features(model, traffic))

====================  =======================================================================
``recipe.py``         ``Recipe``: from where in a model the features come
``_features.py``      ``features``: runs a model up to there
``_inputs.py``        examples along dimension 0, in batches
``_taps.py``          hooks that keep what modules return, and stop the pass behind the deepest
``_pooling.py``       one row an example out of tokens or maps
``router.py``         ``Router``: what users hold
``_method.py``        how it is fitted
``_examples.py``      checks the features that it is fitted to
``_centres.py``       k-means centres in place of examples
``_discriminant.py``  the metric: shrinkage LDA; ``_learned.py``: refined by [F] Eq. 19
``_neighbourhood.py`` what the keys around an input say; ``_search.py`` finds them
``_held_out.py``      what a router says of examples that it was not fitted to
``_rejection.py``     when an input is of no known task
``_fit.py``           ``fit``: a router from inputs, its layer chosen; ``_layers.py``: among which
``cascade.py``        ``Cascade``: a deeper router only where a shallow one is unsure
``_stage.py``         one router of it; ``_calibration.py`` finds how sure it has to be
``_confidence.py``    how sure a router is, of an input or of a whole batch
====================  =======================================================================

Knows nothing of banks; returns weights and indices, and leaves merging to others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvbank._lazy import lazy_exports

if TYPE_CHECKING:
    from tvbank.routing._features import features as features
    from tvbank.routing._fit import Fitted as Fitted
    from tvbank.routing._fit import LayerScore as LayerScore
    from tvbank.routing._fit import fit as fit
    from tvbank.routing.cascade import Cascade as Cascade
    from tvbank.routing.recipe import Recipe as Recipe
    from tvbank.routing.router import Router as Router

__all__ = ["Cascade", "Fitted", "LayerScore", "Recipe", "Router", "features", "fit"]

__getattr__ = lazy_exports(
    __name__,
    {
        "Cascade": "cascade", "Fitted": "_fit", "LayerScore": "_fit", "Recipe": "recipe",
        "Router": "router", "features": "_features", "fit": "_fit",
    },
)  # fmt: skip
