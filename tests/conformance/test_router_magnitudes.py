"""Keys, metrics and inputs of every finite magnitude: right answers, never NaN."""

import math

import numpy as np
import pytest

import tvbank
from spec.reference.layout import Tensor
from spec.reference.routers import Router as Reference
from spec.reference.routers import likelihoods, route
from tvbank.errors import NonFiniteError, UsageError
from tvbank.routing.router import FitOptions, Metric, Rejection, Router
from tvbank.storage import MemoryStorage

LARGEST = float(np.finfo(np.float32).max)
MAGNITUDES = [1e-45, 1e-20, 1.0, 1e12, 1e13, 1e19, 1e25, 1e38, LARGEST]
KEYS = np.array([[0, 0], [1, 1], [3, 1], [5, 5], [6, 7], [7, 4]]) / 7


def made(keys, metric=None, rejection=None):
    owners = np.array([0, 0, 0, 1, 1, 1], np.int32)
    recipe = tvbank.routing.Recipe(("",), "auto", 2)
    method = FitOptions("euclidean" if metric is None else "discriminant", 3)
    return Router(("a", "b"), recipe, method, keys, owners, 1.0, metric, rejection)


def reference(router):
    """The router as the specification's reader has it, with the bytes of its arrays."""
    arrays = {"keys": router.keys, "owners": router.owners}
    if router.metric is not None:
        arrays |= {"centre": router.metric.centre, "matrix": router.metric.matrix}
    extras = [Tensor(name, a.dtype.name, a.shape) for name, a in arrays.items()]
    given = router.rejection
    thresholds = None if given is None else (given.evidence, given.distance)
    found = Reference(
        "", ["a", "b"], [], [""], "auto", 2, 3, router.spread, thresholds, {}, extras, {}
    )
    return found, [a.tobytes() for a in arrays.values()]


@pytest.mark.parametrize("scale", MAGNITUDES)
@pytest.mark.parametrize("matrix", [None, 1e-30, 1.0, LARGEST])
@pytest.mark.parametrize("one", [False, True])
def test_both_readers_agree(scale, matrix, one):
    keys = KEYS.astype(np.float32)
    if one:  # a single key of that size among others
        keys[5] *= np.float32(scale)
    else:
        keys *= np.float32(scale)
    metric = None
    if matrix is not None:
        directions = np.array([[1, 0.25], [0, -1]], np.float32) * np.float32(matrix)
        metric = Metric(np.full(2, -scale / 8, np.float32), directions)
    router = made(keys, metric, Rejection(-LARGEST, LARGEST))
    queries = np.concatenate([keys, keys[::-1] * np.float32(0.9), KEYS, -keys]).astype(np.float32)
    weights, likely = router.weights(queries), router.posterior(queries)
    assert np.isfinite(likely).all()
    found, arrays = reference(router)
    for number, query in enumerate(queries.tolist()):
        expected = route(found, arrays, query)
        if scale >= 1e12 and not one and matrix in (None, 1.0):
            assert weights[number] == pytest.approx(expected, abs=1e-9)
        assert not any(map(math.isnan, expected))
        assert not any(map(math.isnan, likelihoods(found, arrays, query)))
    assert np.isfinite(weights).all()
    assert likely.sum(1) == pytest.approx(1)


def test_one_huge_key_hides_no_other():
    keys = KEYS.astype(np.float32)
    keys[5] = LARGEST
    weights = made(keys).weights(KEYS[:5])
    assert weights == pytest.approx(made(KEYS.astype(np.float32)).weights(KEYS[:5]), abs=0.34)
    assert weights[0].tolist() == [1, 0]
    assert made(keys).top(KEYS[:5]).tolist() == [0, 0, 0, 1, 1]


def test_huge_inputs_of_an_ordinary_router():
    router = made(KEYS.astype(np.float32))
    queries = np.array([[LARGEST, LARGEST], [-LARGEST, -LARGEST], [0.9, 0.7]], np.float32)
    found, arrays = reference(router)
    expected = [route(found, arrays, query) for query in queries.tolist()]
    assert router.weights(queries) == pytest.approx(np.array(expected))
    assert np.isfinite(router.posterior(queries)).all()
    for bad in (np.nan, np.inf, 1e300):
        with pytest.raises(NonFiniteError, match="row 1"):
            router.weights(np.array([[0, 0], [bad, 0]]))


@pytest.mark.parametrize("metric", ["euclidean", "discriminant"])
@pytest.mark.parametrize("scale", MAGNITUDES)
def test_fitted_at_every_scale(metric, scale):
    tasks = {"a": KEYS[:3], "b": KEYS[3:]}
    features = {task: (rows * scale).astype(np.float32) for task, rows in tasks.items()}
    router = tvbank.Router.fit(features, neighbours=2, metric=metric)
    queries = np.concatenate(list(features.values()))
    assert np.isfinite(router.weights(queries)).all()
    assert np.isfinite(router.posterior(queries)).all()


def test_centres_of_huge_features():
    features = {"a": KEYS[:3] * 1e30, "b": KEYS[3:] * 1e30}
    with pytest.raises(UsageError, match="too large for centres"):
        tvbank.Router.fit(features, neighbours=1, centres=1)


@pytest.mark.parametrize("what", ["keys", "matrix", "spread", "thresholds"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nothing_is_stored_that_cannot_be_read(what, bad):
    keys, rejection = KEYS.astype(np.float32), Rejection(0.0, bad if what == "thresholds" else 1.0)
    matrix = np.eye(2, dtype=np.float32)
    if what == "keys":
        keys[0, 0] = bad
    elif what == "matrix":
        matrix[0, 0] = bad
    router = made(keys, Metric(np.zeros(2, np.float32), matrix), rejection)
    if what == "spread":
        router = router.__class__(**{**vars(router), "spread": bad})
    base = {"w": np.zeros(4, np.float32)}
    bank = tvbank.create(MemoryStorage(), base)
    for task in ("a", "b"):
        bank.add(task, {"w": np.ones(4, np.float32)}, tvbank.Exact())
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        bank.add_router("r", router)


def test_costs_of_a_cascade():
    router = made(KEYS.astype(np.float32))
    with pytest.raises(UsageError, match="costs="):
        tvbank.routing.Cascade.cheapest([router], [float("nan")])
