"""The router: shares of neighbours, reproducible, with clear errors."""

import numpy as np
import pytest
import torch

import tvbank
from tvbank.errors import NonFiniteError, TaskExistsError, TaskNotFoundError, UsageError


def clouds(counts=(40, 40, 40), width=12, spread=1.0, seed=0):
    """Tasks around means of their own, with a common mean far away and unequal noise."""
    rng = np.random.default_rng(seed)
    noise = spread * np.linspace(0.2, 3, width)
    return {
        f"task{number}": (20 + 2 * rng.standard_normal(width)
                          + noise * rng.standard_normal((count, width))).astype(np.float32)
        for number, count in enumerate(counts)
    }  # fmt: skip


def held_out(features, share=2):
    """Every other row to fit, the rest to test, with the numbers of their tasks."""
    fitted = {task: rows[::share] for task, rows in features.items()}
    rest = [np.delete(rows, np.s_[::share], 0) for rows in features.values()]
    return fitted, np.concatenate(rest), np.repeat(range(len(rest)), [len(each) for each in rest])


def brute_force(features, queries, neighbours):
    """[F] Eq. 5 to the letter."""
    keys = np.concatenate(list(features.values())).astype(np.float64)
    owners = np.repeat(range(len(features)), [len(rows) for rows in features.values()])
    shares = []
    for query in queries.astype(np.float64):
        nearest = np.argsort(np.linalg.norm(keys - query, axis=1), kind="stable")[:neighbours]
        shares.append(np.bincount(owners[nearest], minlength=len(features)) / neighbours)
    return np.array(shares)


@pytest.mark.parametrize("neighbours", [1, 10, 60])
def test_euclidean_weights_are_the_shares_of_eq_5(neighbours):
    fitted, queries, _ = held_out(clouds((41, 30, 77)))
    fitted = {task: rows.astype(np.float16).astype(np.float32) for task, rows in fitted.items()}
    router = tvbank.Router.fit(fitted, neighbours=neighbours, metric="euclidean", reject=None)
    found = router.weights(queries)
    assert found.dtype == np.float64
    assert np.allclose(found, brute_force(fitted, queries, neighbours), atol=1e-12)


@pytest.mark.parametrize("metric", ["discriminant", "euclidean"])
def test_rows_sum_to_one_or_are_rejected(metric):
    fitted, queries, _ = held_out(clouds())
    queries = np.concatenate([queries, queries + 100])
    sums = tvbank.Router.fit(fitted, metric=metric, reject=None).weights(queries).sum(1)
    assert np.allclose(sums, 1)
    router = tvbank.Router.fit(fitted, metric=metric)
    sums = router.weights(queries).sum(1)
    assert ((np.abs(sums - 1) < 1e-12) | (sums == 0)).all()
    assert (sums[len(queries) // 2 :] == 0).all()
    assert np.array_equal(router.top(queries) == -1, sums == 0)
    assert router.rejects


def test_equal_arguments_give_equal_bits():
    fitted, queries, _ = held_out(clouds((30, 50)))
    one, two = (tvbank.Router.fit(fitted, seed=3) for _ in range(2))
    assert one.rejection == two.rejection
    assert one.metric.matrix.tobytes() == two.metric.matrix.tobytes()
    assert one.weights(queries).tobytes() == two.weights(queries).tobytes()


def test_the_metric_beats_the_plain_distance():
    fitted, queries, owners = held_out(clouds((100, 100, 100, 100), width=30, spread=4.0))
    right = {
        metric: (tvbank.Router.fit(fitted, metric=metric, reject=None).top(queries) == owners)
        for metric in ("discriminant", "euclidean")
    }
    assert right["discriminant"].mean() > right["euclidean"].mean()


def test_tasks_may_differ_in_their_number_of_examples():
    fitted, queries, owners = held_out(clouds((2, 300, 50, 9), spread=0.1))
    router = tvbank.Router.fit(fitted, neighbours=1)
    assert (router.top(queries) == owners).mean() > 0.9


def test_the_nearest_neighbour_decides_between_equal_shares():
    features = {"a": [[0.0], [1.0]], "b": [[3.0], [4.0]]}
    router = tvbank.Router.fit(features, neighbours=4, metric="euclidean", reject=None)
    assert router.weights([[0.5], [3.5]]).tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert router.top([[0.5], [3.5]]).tolist() == [0, 1]


def test_tensors_of_any_type_are_features():
    fitted, queries, _ = held_out(clouds())
    router = tvbank.Router.fit({task: torch.from_numpy(rows) for task, rows in fitted.items()})
    assert np.array_equal(router.weights(torch.from_numpy(queries).double()),
                          router.weights(queries))  # fmt: skip


def test_huge_features_keep_their_precision():
    fitted = {task: rows * 1e6 for task, rows in clouds().items()}
    router = tvbank.Router.fit(fitted)
    assert np.array_equal(router.keys, np.concatenate(list(fitted.values())))


def test_features_that_never_vary_do_no_harm():
    fitted = {task: np.pad(rows, ((0, 0), (0, 2))) for task, rows in clouds().items()}
    router = tvbank.Router.fit(fitted)
    assert np.isfinite(router.metric.matrix).all()
    same = {"a": np.ones((5, 3)), "b": np.ones((5, 3))}
    assert np.isfinite(tvbank.Router.fit(same, neighbours=3).weights(np.ones((2, 3)))).all()
    apart = {"a": np.full((5, 3), 1.1e8), "b": np.full((4, 3), -3.3e7), "c": np.full((1, 3), 7.7e7)}
    router = tvbank.Router.fit(apart, neighbours=1, reject=None)
    assert router.top(np.concatenate(list(apart.values()))).tolist() == [0] * 5 + [1] * 4 + [2]


GOOD = clouds((5, 5), width=3)


@pytest.mark.parametrize(
    ("error", "what", "features", "options"),
    [
        (UsageError, "two tasks or more, got only 'task0'", {"task0": GOOD["task0"]}, {}),
        (UsageError, "fitted to features of tasks", {}, {}),
        (UsageError, "task 'empty' has no examples", GOOD | {"empty": np.zeros((0, 3))}, {}),
        (UsageError, "differ in width.*'wide': 4", GOOD | {"wide": np.zeros((2, 4))}, {}),
        (UsageError, "task 'flat': features are a matrix", GOOD | {"flat": np.zeros(3)}, {}),
        (UsageError, "task 'text': features are", GOOD | {"text": [["a", "b", "c"]]}, {}),
        (NonFiniteError, "task 'nan': row 1", GOOD | {"nan": [[0, 0, 0], [0, np.nan, 0]]}, {}),
        (UsageError, "neighbours= is at most .* 10, got 11", GOOD, {"neighbours": 11}),
        (UsageError, "neighbours= is 1", GOOD, {"neighbours": 0}),
        (UsageError, "metric= is one of", GOOD, {"metric": "cosine"}),
        (UsageError, "reject= is a share", GOOD, {"reject": 1.5}),
    ],
)
def test_bad_arguments(error, what, features, options):
    with pytest.raises(error, match=what):
        tvbank.Router.fit(features, **{"neighbours": 3} | options)


def test_bad_queries():
    router = tvbank.Router.fit(GOOD, neighbours=3)
    with pytest.raises(UsageError, match=r"width 3, got 4.*at=\[''\]"):
        router.weights(np.zeros((1, 4)))
    with pytest.raises(NonFiniteError, match="row 0"):
        router.weights([[0, np.inf, 0]])
    assert router.weights(np.zeros((0, 3))).shape == (0, 2)


@pytest.mark.parametrize("options", [{}, {"metric": "euclidean"}, {"reject": None}])
def test_a_task_more_is_the_router_of_all_tasks(options):
    fitted, queries, _ = held_out(clouds((30, 50, 40)))
    rest = {task: rows for task, rows in fitted.items() if task != "task2"}
    grown = tvbank.Router.fit(rest, at="here", **options).with_task("task2", fitted["task2"])
    whole = tvbank.Router.fit(fitted, at="here", **options)
    assert grown.tasks == whole.tasks
    assert grown.recipe == whole.recipe
    assert grown.rejection == whole.rejection
    assert grown.weights(queries).tobytes() == whole.weights(queries).tobytes()
    shrunk = whole.without_task("task2")
    before = tvbank.Router.fit(rest, at="here", **options)
    assert shrunk.weights(queries).tobytes() == before.weights(queries).tobytes()


def test_centres_stand_for_examples():
    fitted, queries, owners = held_out(clouds((100, 100, 12)))
    router = tvbank.Router.fit(fitted, centres=8, seed=1)
    assert np.bincount(router.owners).tolist() == [8, 8, 6]
    assert (router.top(queries) == owners).mean() > 0.9
    again = tvbank.Router.fit(fitted, centres=8, seed=1)
    assert again.keys.tobytes() == router.keys.tobytes()
    grown = router.with_task("far", np.full((30, 12), -90.0) + np.eye(30, 12))
    assert grown.metric is router.metric
    assert np.array_equal(grown.weights(queries)[:, :3], router.weights(queries))
    assert set(grown.top(np.full((3, 12), -90.0))) <= {3, -1}
    assert np.array_equal(grown.without_task("far").weights(queries), router.weights(queries))


def test_the_learned_metric_is_reproducible_and_no_worse_than_its_start():
    fitted, queries, owners = held_out(clouds((60, 60, 60), spread=2.0))
    options = {"metric": "learned", "centres": 5, "rank": 4, "seed": 2, "reject": None}
    one, two = (tvbank.Router.fit(fitted, **options) for _ in "ab")
    assert one.metric.matrix.tobytes() == two.metric.matrix.tobytes()
    assert one.metric.matrix.shape == (4, 12)
    assert one.method.metric == "learned"
    plain = tvbank.Router.fit(fitted, centres=5, reject=None)
    right = [(router.top(queries) == owners).mean() for router in (one, plain)]
    assert right[0] >= right[1] - 0.05


def test_centres_and_rank_choose_no_other_metric():
    fitted, _, _ = held_out(clouds((60, 60, 60)))
    router = tvbank.Router.fit(fitted, centres=5, rank=2)
    assert router.method.metric == "discriminant"
    assert router.metric.matrix.shape == (2, 12)


def equation_19(matrix, points, owners, centres, of, neighbours):
    """[F] Eq. 19 example by example, with the nearest own centre where N(x) has none."""
    losses = []
    for point, owner in zip(points.astype("f8"), owners, strict=True):
        near = np.linalg.norm(matrix.astype("f8") @ (point - centres.astype("f8")).T, axis=0)
        chosen = list(np.argsort(near)[:neighbours])
        if owner not in of[chosen]:
            chosen.append(min(np.flatnonzero(of == owner), key=lambda z: near[z]))
        own = [1 / near[z] for z in chosen if of[z] == owner]
        losses.append(-np.log(sum(own) / sum(1 / near[z] for z in chosen)))
    return np.mean(losses)


def test_the_metric_of_the_paper_descends_on_equation_19():
    features = clouds((60, 60, 60), spread=2.0)
    one, two = (
        tvbank.Router.fit(features, metric="paper", centres=5, neighbours=4, reject=None)
        for _ in "ab"
    )
    assert one.metric.matrix.tobytes() == two.metric.matrix.tobytes()
    assert one.metric.matrix.shape == (32, 12)
    points = np.concatenate(list(features.values())).astype("f4")
    owners = np.repeat(np.arange(3), 60)
    start = torch.randn(32, 12, generator=torch.Generator().manual_seed(0)).numpy()
    before, after = (
        equation_19(matrix, points, owners, one.keys, one.owners, 4)
        for matrix in (start, one.metric.matrix)
    )
    assert after < before - 0.1
    assert np.abs(one.metric.matrix - start).max() > 1  # by steps of .5


def test_inputs_of_other_tasks_are_rejected():
    features = clouds((200, 200, 200, 200), spread=0.3)
    unseen = features.pop("task3")
    fitted, queries, _ = held_out(features)
    router = tvbank.Router.fit(fitted, reject=0.02)
    assert (router.top(unseen) == -1).mean() > 0.9
    assert (router.top(queries) == -1).mean() < 0.06
    assert (tvbank.Router.fit(fitted, reject=None).top(unseen) >= 0).all()


def test_faiss_finds_the_same_neighbours(monkeypatch):
    from tvbank.routing import _neighbours
    from tvbank.routing._neighbours import Exact, Faiss, searching

    rng = np.random.default_rng(0)
    keys = rng.integers(-3, 4, (500, 6)).astype(np.float32)  # many equally far
    queries = rng.integers(-3, 4, (70, 6)).astype(np.float32)
    exact, fast = (search(keys).nearest(queries, 9)[0] for search in (Exact, Faiss))
    assert np.array_equal(exact, fast)
    keys, queries = (rng.standard_normal((n, 6)).astype(np.float32) for n in (500, 70))
    exact, fast = (search(keys).nearest(queries, 9) for search in (Exact, Faiss))
    assert all(np.array_equal(*pair) for pair in zip(exact, fast, strict=True))
    assert isinstance(searching(keys), Exact)
    monkeypatch.setattr(_neighbours, "FAISS_FROM", keys.size)
    assert isinstance(searching(keys), Faiss)


@pytest.mark.parametrize("count", [4096, 8191, 8192, 9001, 20_000])
def test_grouped_keys_hide_no_neighbour(count):
    from tvbank.routing._neighbours import Exact

    rng = np.random.default_rng(count)
    keys, queries = (rng.standard_normal((n, 3)).astype(np.float32) for n in (count, 40))
    distances, found = Exact(keys).nearest(queries, 7)
    every = np.sqrt(((queries[:, None] - keys) ** 2).sum(2))
    assert np.array_equal(found, np.argsort(every, axis=1, kind="stable")[:, :7])
    assert np.allclose(distances, np.sort(every, axis=1)[:, :7], atol=1e-5)


@pytest.mark.parametrize(("width", "apart"), [(3, 2.0), (11, 0.2), (12, 0.5), (40, 0.1), (40, 2.0)])
def test_the_metric_is_that_of_the_shrunk_covariance(width, apart):
    rng = np.random.default_rng(width)
    parts = rng.standard_normal((3, 8, width)) * np.geomspace(0.1, 1, width)
    parts = parts @ rng.standard_normal((width, width)) + apart * rng.standard_normal((3, 1, width))
    parts = parts.astype(np.float16).astype(np.float64)
    router = tvbank.Router.fit(dict(zip("abc", parts, strict=True)), neighbours=1, reject=None)
    means = parts.mean(1)
    within = (parts - means[:, None]).reshape(24, width)
    scale = np.sqrt((within**2).mean(0))
    within, means, points = within / scale, means / scale, parts.reshape(24, width) / scale
    covariance = within.T @ within / 24
    mean = np.trace(covariance) / width
    spread = np.sum((covariance - mean * np.eye(width)) ** 2)
    noise = sum(np.sum((np.outer(row, row) - covariance) ** 2) for row in within) / 24**2
    points -= points.mean(0)
    tasks = np.repeat(np.eye(3), 8, axis=0)

    def error(share):
        """Generalised cross-validation of ridge regression on which task an example is of."""
        scatter = (1 - share) * points.T @ points + 24 * share * mean * np.eye(width)
        hat = (1 - share) * points @ np.linalg.inv(scatter) @ points.T + 1 / 24
        return np.sum((tasks - hat @ tasks) ** 2) / (24 - np.trace(hat)) ** 2

    share = min(np.linspace(np.sqrt(min(1.0, noise / spread)), 1, 50), key=error)
    shrunk = (1 - share) * covariance + share * mean * np.eye(width)
    between = means[:, None] - means
    wanted = np.einsum("abi,ij,abj->ab", between, np.linalg.inv(shrunk), between)
    middles = router._around.project(parts.mean(1).astype(np.float32))
    found = ((middles[:, None] - middles) ** 2).sum(2)
    assert np.allclose(found, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("error", "what", "change"),
    [
        (UsageError, "centres= too", lambda: tvbank.Router.fit(GOOD, metric="learned", rank=2)),
        (UsageError, "centres= too", lambda: tvbank.Router.fit(GOOD, metric="paper", rank=2)),
        (UsageError, "rank= belongs", lambda: tvbank.Router.fit(GOOD, metric="euclidean", rank=2)),
        (UsageError, "centres= is 1", lambda: tvbank.Router.fit(GOOD, centres=0)),
        (TaskExistsError, "'task0' already", lambda: SMALL.with_task("task0", np.zeros((1, 3)))),
        (UsageError, "width 3, got 2", lambda: SMALL.with_task("new", np.zeros((1, 2)))),
        (UsageError, "'new' has no examples", lambda: SMALL.with_task("new", np.zeros((0, 3)))),
        (TaskNotFoundError, "knows 'task0', 'task1'", lambda: SMALL.without_task("nobody")),
        (UsageError, "got only 'task0'", lambda: SMALL.without_task("task1")),
    ],
)
def test_bad_changes(error, what, change):
    with pytest.raises(error, match=what):
        change()


SMALL = tvbank.Router.fit(GOOD, neighbours=3)
