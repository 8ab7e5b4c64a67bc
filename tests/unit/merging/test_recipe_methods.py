"""Each method of recipes against its definition, entry by entry in plain Python."""

import math

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import tvbank
from tvbank.errors import BaseMismatchError, NonFiniteError
from tvbank.merging import merge_recipe
from tvbank.merging.recipes.methods.trimming import among_largest, among_smallest
from tvbank.storage import MemoryStorage

TASKS = ("cats", "dogs", "birds")
SHAPES = {"embed.weight": (5, 4), "layers.0.up.weight": (6, 4), "layers.1.up.weight": (6, 4),
          "norm.bias": (4,)}  # fmt: skip
WEIGHTS = {"cats": 0.5, "dogs": 0.25, "birds": 0.75}
DENSITIES = {"cats": 0.5, "dogs": 0.3, "birds": 0.9}


def model_of(seed, near=None):
    rng = np.random.default_rng(seed)
    if near is None:
        return {n: rng.standard_normal(s).astype("f4") for n, s in SHAPES.items()}
    return {
        n: (w + 0.1 * rng.standard_normal(w.shape) * (rng.random(w.shape) < 0.8)).astype("f4")
        for n, w in near.items()
    }


BASE = model_of(0)
MODELS = {task: model_of(1 + number, BASE) for number, task in enumerate(TASKS)}


@pytest.fixture(scope="module")
def bank():
    bank = tvbank.create(MemoryStorage(), base=BASE)
    for task, model in MODELS.items():
        bank.add(task, model, tvbank.Exact())
    return bank


def recipe(method, each=("weight",), base="base", **shared):
    values = {"weight": WEIGHTS, "density": DENSITIES}
    return {
        "merge_method": method,
        **({"base_model": base} if base else {}),
        "models": [
            {"model": task, "parameters": {name: values[name][task] for name in each}}
            for task in TASKS
        ],
        "parameters": shared,
    }


def assert_merged(bank, asked, expected, **named):
    """``expected`` takes the name of a unit and returns its entries as a flat list."""
    found = merge_recipe(bank, asked, base=BASE, **named)
    assert set(found) == set(SHAPES)
    for name, tensor in found.items():
        np.testing.assert_allclose(tensor.numpy().ravel(), expected(name), rtol=2e-6, atol=1e-6)


def vectors(name):
    return {task: MODELS[task][name].ravel() - BASE[name].ravel() for task in TASKS}


def plus_base(name, merged):
    return [b + m for b, m in zip(BASE[name].ravel(), merged, strict=True)]


@pytest.mark.parametrize("normalize", [True, False])
def test_linear_is_the_weighted_mean_of_models(bank, normalize):
    def expected(name):
        divisor = sum(WEIGHTS.values()) if normalize else 1
        sums = sum(WEIGHTS[task] * MODELS[task][name].ravel() for task in TASKS)
        return sums / divisor

    assert_merged(bank, recipe("linear", base=None, normalize=normalize), expected)


@pytest.mark.parametrize("normalize", [True, False])
def test_task_arithmetic_is_the_weighted_sum_of_vectors(bank, normalize):
    def expected(name):
        divisor = sum(WEIGHTS.values()) if normalize else 1
        sums = sum(WEIGHTS[task] * vector for task, vector in vectors(name).items())
        return plus_base(name, 0.5 * sums / divisor)

    asked = recipe("task_arithmetic", normalize=normalize, **{"lambda": 0.5})
    assert_merged(bank, asked, expected)


def trimmed(vector, density, gamma=None):
    """The ``int(density * n)`` largest, or those below the largest ``gamma`` of them."""
    order = sorted(range(len(vector)), key=lambda k: abs(vector[k]))
    if gamma is None:
        kept = order[len(order) - max(1, int(density * len(order))) :]
    else:
        count = int(density * len(order))
        first = max(0, len(order) - count - int(gamma * len(order)))
        kept = order[first : first + count]
    return [vector[k] if k in set(kept) else 0.0 for k in range(len(vector))]


def elected(name, kept, normalize, scale=1.0):
    """The weighted sum of those that have the sign of the sum, over the sum of their weights."""
    merged = []
    for k in range(len(kept["cats"])):
        weighted = {task: WEIGHTS[task] * kept[task][k] for task in TASKS}
        sign = 1 if sum(weighted.values()) >= 0 else -1
        agree = [task for task in TASKS if weighted[task] * sign > 0]
        divisor = sum(WEIGHTS[task] for task in agree) if normalize and agree else 1
        merged.append(scale * sum(weighted[task] for task in agree) / divisor)
    return plus_base(name, merged)


def rescaled(before, after):
    left = sum(map(abs, after))
    return [a * sum(map(abs, before)) / left if left else a for a in after]


@pytest.mark.parametrize(("normalize", "rescale"), [(True, False), (False, True)])
def test_ties_trims_elects_and_averages(bank, normalize, rescale):
    def expected(name):
        kept = {task: trimmed(vector, DENSITIES[task]) for task, vector in vectors(name).items()}
        if rescale:
            kept = {task: rescaled(vectors(name)[task], kept[task]) for task in TASKS}
        return elected(name, kept, normalize, 1.5)

    asked = recipe("ties", ("weight", "density"), normalize=normalize, rescale=rescale,
                   **{"lambda": 1.5})  # fmt: skip
    assert_merged(bank, asked, expected)


@pytest.mark.parametrize("method", ["breadcrumbs", "breadcrumbs_ties"])
def test_breadcrumbs_leaves_out_both_ends(bank, method):
    def expected(name):
        kept = {t: trimmed(v, DENSITIES[t], gamma=0.2) for t, v in vectors(name).items()}
        if method == "breadcrumbs_ties":
            return elected(name, kept, normalize=False)
        return plus_base(name, sum(WEIGHTS[t] * np.array(kept[t]) for t in TASKS))

    assert_merged(bank, recipe(method, ("weight", "density"), gamma=0.2), expected)


@pytest.mark.parametrize("method", ["dare_linear", "dare_ties"])
def test_dare_keeps_what_the_dare_of_tvbank_keeps(bank, method):
    """The same draws; what is left has the L1 norm that the whole vector had."""
    scaled = {"dare_linear": True, "dare_ties": False}[method]

    def expected(name):
        kept = {}
        for task, vector in vectors(name).items():
            dare = tvbank.Dare(drop=1 - DENSITIES[task], seed=4)
            alone = tvbank.merge(bank, {task: 1.0}, base=BASE, method=dare)[name].numpy().ravel()
            left = alone != BASE[name].ravel()
            kept[task] = [v if k else 0.0 for v, k in zip(vector, left, strict=True)]
            if scaled:
                kept[task] = rescaled(vector, kept[task])
        if method == "dare_ties":
            return elected(name, kept, normalize=False)
        return plus_base(name, sum(WEIGHTS[t] * np.array(kept[t]) for t in TASKS))

    asked = recipe(method, ("weight", "density"), rescale=scaled)
    assert_merged(bank, asked, expected, seed=4)


def test_dare_keeps_its_share():
    size = 40_000
    base = {"w": np.zeros(size, "f4")}
    bank = tvbank.create(MemoryStorage(), base=base)
    bank.add("ones", {"w": np.ones(size, "f4")}, tvbank.Exact())
    asked = {"merge_method": "dare_linear", "base_model": "base", "random_seed": 1,
             "models": [{"model": "ones"}],
             "parameters": {"weight": 1, "density": 0.25}}  # fmt: skip
    merged = merge_recipe(bank, asked, base=base)["w"].numpy()
    share = (merged != 0).mean()
    assert abs(share - 0.25) < 5 * math.sqrt(0.25 * 0.75 / size)
    np.testing.assert_allclose(merged.sum(), size, rtol=1e-5)  # rescaled to its L1 norm
    again = merge_recipe(bank, asked, base=base, seed=1)["w"].numpy()
    other = merge_recipe(bank, asked, base=base, seed=2)["w"].numpy()
    assert (again == merged).all()
    assert (other != merged).any()


@pytest.mark.parametrize("plus", [False, True])
def test_ram_averages_where_tasks_overlap(bank, plus):
    epsilon, r, alpha = 0.03, 0.5, 0.4

    def expected(name):
        moved = {t: [abs(e) > epsilon for e in v] for t, v in vectors(name).items()}
        counts = [sum(each) for each in zip(*moved.values(), strict=True)]
        total = np.zeros(len(counts))
        for task, vector in vectors(name).items():
            shared = sum(m and c > 1 for m, c in zip(moved[task], counts, strict=True))
            unique = sum(m and c == 1 for m, c in zip(moved[task], counts, strict=True))
            factor = 1 + r * min(shared / max(unique, epsilon), alpha) if plus else 1
            for k, entry in enumerate(vector):
                if moved[task][k]:
                    total[k] += factor * entry if counts[k] == 1 else entry / counts[k]
        return plus_base(name, total)

    shared = {"r": r, "alpha": alpha} if plus else {}
    asked = recipe("ramplus_tl" if plus else "ram", (), epsilon=epsilon, **shared)
    assert_merged(bank, asked, expected)


@pytest.mark.parametrize("t", [0, 0.3, 1])
def test_slerp_runs_along_the_great_circle(bank, t):
    def expected(name):
        first, second = (MODELS[task][name].ravel().astype("f8") for task in ("cats", "dogs"))
        cosine = first @ second / (np.linalg.norm(first) * np.linalg.norm(second))
        if abs(cosine) > 0.9995:
            return (1 - t) * first + t * second
        angle = math.acos(cosine)
        shares = math.sin((1 - t) * angle), math.sin(t * angle)
        return (shares[0] * first + shares[1] * second) / math.sin(angle)

    asked = {"merge_method": "slerp", "base_model": "cats", "parameters": {"t": t},
             "models": [{"model": "dogs"}, {"model": "cats"}]}  # fmt: skip
    assert_merged(bank, asked, expected)


def test_slerp_mixes_linearly_what_points_the_same_way():
    base = {"w": np.linspace(-1, 1, 50, dtype="f4")}
    bank = tvbank.create(MemoryStorage(), base=base)
    bank.add("twice", {"w": 2 * base["w"]}, tvbank.Exact())
    asked = {"merge_method": "slerp", "base_model": "base", "parameters": {"t": 0.25},
             "models": [{"model": "twice"}]}  # fmt: skip
    merged = merge_recipe(bank, asked, base=base)["w"].numpy()
    np.testing.assert_allclose(merged, 1.25 * base["w"], rtol=1e-6)


def test_passthrough_scales_one_model(bank):
    asked = {"merge_method": "passthrough", "models": [
        {"model": "dogs", "parameters": {"scale": [{"filter": "up", "value": 0.5}]}}
    ]}  # fmt: skip
    assert_merged(
        bank, asked, lambda name: MODELS["dogs"][name].ravel() * (0.5 if "up" in name else 1)
    )


def test_a_model_is_what_export_writes_of_a_task(tmp_path):
    base = {name: weights.astype("f2") for name, weights in BASE.items()}
    bank = tvbank.create(MemoryStorage(), base=base)
    bank.add("exact", {n: w.astype("f2") for n, w in MODELS["cats"].items()}, tvbank.Exact())
    bank.add("lossy", {n: w.astype("f2") for n, w in MODELS["dogs"].items()}, tvbank.TSwitch(0.5))
    for task in bank:
        asked = {"merge_method": "passthrough", "models": [{"model": task}]}
        found = merge_recipe(bank, asked, base=base)
        expected = load_file(tvbank.export(bank, task, base=base, out=tmp_path / task))
        assert found.keys() == expected.keys()
        assert all((found[name].numpy() == array).all() for name, array in expected.items())


def test_another_base_is_refused(bank):
    other = {**BASE, "norm.bias": BASE["norm.bias"] + 1}
    asked = {"merge_method": "linear", "models": [{"model": "cats"}], "parameters": {"weight": 1}}
    with pytest.raises(BaseMismatchError, match=r"norm\.bias"):
        merge_recipe(bank, asked, base=other)


def test_what_would_not_be_finite_is_refused_and_what_was_not_stays():
    base = {"w": np.full(8, 1e38, "f4"), "v": np.array([np.inf, 1], "f4")}
    bank = tvbank.create(MemoryStorage(), base=base)
    bank.add("same", dict(base), tvbank.Exact())
    models = [{"model": "base"}, {"model": "same"}]
    mean = {"merge_method": "linear", "models": models, "parameters": {"weight": 1}}
    found = merge_recipe(bank, mean, base=base)
    assert found["v"].isinf().tolist() == [True, False]
    huge = mean | {"parameters": {"weight": 9, "normalize": False}}
    with pytest.raises(NonFiniteError, match="unit 'w': a weight would become NaN or too large"):
        merge_recipe(bank, huge, base=base)


def test_equal_magnitudes_at_the_cut_are_kept_from_the_front():
    base = {"w": np.zeros(8, "f4")}
    bank = tvbank.create(MemoryStorage(), base=base)
    bank.add("flat", {"w": np.array([1, -1, 1, 3, 1, 1, -1, 2], "f4")}, tvbank.Exact())

    def kept(method, **named):
        asked = {"merge_method": method, "base_model": "base", "parameters": named,
                 "models": [{"model": "flat", "parameters": {"weight": 1}}]}  # fmt: skip
        return merge_recipe(bank, asked, base=base)["w"].tolist()

    assert kept("ties", density=0.5) == [1, -1, 0, 3, 0, 0, 0, 2]
    assert kept("breadcrumbs", density=0.5, gamma=0.25) == [0, 0, 1, 0, 1, 1, -1, 0]


def test_ranks_are_those_of_a_stable_sort():
    chance = np.random.default_rng(5)
    for size in (1, 2, 50, 3000):
        exact = np.abs(chance.standard_normal(size)).astype("f4")
        for sizes in (exact, np.round(exact, 1), np.zeros(size, "f4"), exact * np.float32(1e-42)):
            rising = np.argsort(sizes, kind="stable")
            falling = np.argsort(-sizes, kind="stable")
            for count in {0, 1, size // 3, size - 1, size}:
                found = among_smallest(torch.from_numpy(sizes), count)
                assert set(np.flatnonzero(found.numpy())) == set(rising[:count])
                found = among_largest(torch.from_numpy(sizes), count)
                assert set(np.flatnonzero(found.numpy())) == set(falling[:count])
