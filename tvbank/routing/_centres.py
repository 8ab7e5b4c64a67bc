"""K-means centres inside each task, in place of its examples."""

from __future__ import annotations

import numpy as np

from tvbank.errors import UsageError
from tvbank.routing._examples import Examples, Floats, rounded


def cluster(examples: Examples, centres: int, seed: int) -> Examples:
    """At most ``centres`` centres of each task; a task with fewer examples keeps those.

    Raises:
        UsageError: scikit-learn is not installed.
    """
    try:
        from sklearn.cluster import KMeans
    except ImportError as error:
        raise UsageError(
            "centres= needs scikit-learn: pip install 'tvbank[routing]', or leave centres= out"
        ) from error
    found: list[Floats] = []
    for task in range(len(examples.tasks)):
        points = np.unique(examples.of(task), axis=0)
        if len(points) > centres:
            means = KMeans(centres, n_init=4, random_state=seed).fit(points).cluster_centers_
            points = means.astype(np.float32)
        found.append(points)
    owners = np.repeat(np.arange(len(found), dtype=np.int32), [len(each) for each in found])
    return Examples(examples.tasks, rounded(np.concatenate(found)), owners)
