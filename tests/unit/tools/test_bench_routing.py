"""The routing benchmark: searches agree, what is stored routes, accuracy is a share."""

import numpy as np

from tools.bench import _routing_real
from tools.bench import routing as bench_routing


def test_growth_of_a_few_tasks():
    features = bench_routing.clusters(3, 24, np.random.default_rng(0))
    fitted = {f"t{k}": rows[:20] for k, rows in enumerate(features)}
    queries = np.concatenate([rows[20:] for rows in features])
    row = bench_routing.growth(fitted, queries, np.repeat(range(3), 4))
    assert (row["keys"], row["rank"], row["inputs"]) == (60, 2, 12)
    assert row["recall"] == 1
    assert 0 <= row["right"] <= 1


def test_rejection_of_a_task_left_out():
    rng = np.random.default_rng(1)
    layer = {
        f"t{k}": tuple(
            (20 * np.eye(4)[k] + rng.standard_normal((count, 4))).astype(np.float32)
            for count in (40, 30)
        )
        for k in range(4)
    }
    row = _routing_real._left_out({"": layer}, [""], "t3", seeds=1)
    assert row["rejected"] > 0.9
    assert row["false"] < 0.1
    assert _routing_real._right(layer, 0, {}) == 1
