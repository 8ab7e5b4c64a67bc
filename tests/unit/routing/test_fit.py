"""A router from inputs: the layer is chosen on held-out examples, the cheapest of the best."""

import numpy as np
import pytest
import torch
from torch import nn

import tvbank
from tvbank.errors import UsageError
from tvbank.routing import _fit, _held_out, _metric
from tvbank.routing._examples import gather
from tvbank.routing._forward import run_model
from tvbank.routing._held_out import FOLDS, folded
from tvbank.routing._layers import MOST, candidate_layers

WIDTH = 8


class Spoils(nn.Module):
    """Leaves nothing of its input."""

    def forward(self, states):
        return torch.sin(1e5 * states)


class Encoder(nn.Module):
    """Tasks can be told apart behind the second block only: it undoes what the first did."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(WIDTH, WIDTH)
        self.blocks = nn.ModuleList(
            [nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Sequential(Spoils())]
        )
        self.norm = nn.LayerNorm(WIDTH)
        self.classify = nn.Linear(WIDTH, 3)

    def forward(self, states):
        states = self.embed(states)
        for block in self.blocks:
            states = block(states)
        return self.classify(self.norm(states))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Encoder()


def inputs(tasks=3, count=20, spread=0.3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    means = 2 * torch.randn(tasks, 1, WIDTH, generator=generator)
    noise = torch.randn(tasks, count, WIDTH, generator=generator)
    return {f"task{k}": rows for k, rows in enumerate(means + spread * noise)}


def test_candidates_come_in_the_order_of_the_pass(model):
    few = torch.zeros(2, WIDTH)
    layers = candidate_layers(model, few, run_model)
    assert [layer.name for layer in layers] == [
        "embed", "blocks.0", "blocks.1", "blocks.2", "norm", "",
    ]  # fmt: skip
    costs = [layer.cost for layer in layers]
    assert costs == sorted(costs)
    assert costs[-1] == 1
    assert np.allclose(costs[:3], np.array([64, 128, 192]) / (3 * 64 + 24))
    assert all(not module._forward_hooks for module in model.modules())


def test_candidates_of_other_models():
    deep = nn.Sequential(*(nn.Linear(2, 2) for _ in range(3 * MOST)))
    layers = candidate_layers(deep, torch.zeros(2, 2), run_model)
    assert len(layers) == MOST + 1
    convolutions = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2))
    names = [
        each.name for each in candidate_layers(convolutions, torch.zeros(2, 1, 6, 6), run_model)
    ]
    assert names == ["0", "1", "2", ""]
    assert [each.name for each in candidate_layers(nn.Linear(2, 2), torch.zeros(2, 2), run_model)
            ] == [""]  # fmt: skip


def test_the_cheapest_of_the_best_layers_is_chosen(model):
    given = inputs()
    fitted = tvbank.routing.fit(model, given, neighbours=3)
    assert fitted.chosen.at == fitted.router.recipe.at == ("embed",)
    assert fitted.chosen.accuracy == 1
    spoilt = next(score for score in fitted.layers if score.at == ("blocks.2",))
    assert spoilt.accuracy < 0.9
    assert fitted.router.recipe.width == WIDTH
    assert [score.cost for score in fitted.layers] == sorted(s.cost for s in fitted.layers)
    tests = inputs(seed=0, count=20)
    rows = tvbank.routing.features(model, tests["task1"], fitted.router.recipe)
    assert (fitted.router.top(rows) == 1).mean() > 0.8


def test_layers_are_scored_on_examples_that_were_held_out(model):
    given = inputs(tasks=3, count=25, spread=2.0)
    fitted = tvbank.routing.fit(model, given, layers=["embed"], neighbours=5, seed=1)
    (score,) = fitted.layers
    rows = {name: tvbank.routing.features(model, each, "embed") for name, each in given.items()}
    examples = gather(rows)
    folds = folded(examples, 1)
    squares, right = np.zeros((75, 3)), np.zeros(75, bool)
    for fold in range(FOLDS):
        kept = {n: examples.of(k)[folds[k * 25 : k * 25 + 25] != fold] for k, n in enumerate(rows)}
        router = tvbank.Router.fit(kept, neighbours=5, reject=None)
        held = examples.points[folds == fold]
        means = np.stack([router.metric.project(each).mean(0) for each in kept.values()])
        inputs_ = router.metric.project(held)
        squares[folds == fold] = ((inputs_[:, None] - means) ** 2).sum(2)
        right[folds == fold] = router.top(held) == examples.owners[folds == fold]
    assert score.accuracy == pytest.approx(right.mean())

    def surprise(spread):
        likely = np.exp(-squares / 2 / spread)
        likely /= likely.sum(1, keepdims=True)
        return -np.log(likely[np.arange(75), examples.owners]).mean()

    best = min(map(surprise, np.geomspace(0.1, 100, 200)))
    assert best <= score.surprise < best + 0.02


def test_a_tolerance_trades_surprise_for_cost(model):
    given = inputs(spread=1.5, count=40)
    best, cheap = (
        tvbank.routing.fit(model, given, neighbours=5, tolerance=tolerance).chosen
        for tolerance in (0.0, 10.0)
    )
    scores = tvbank.routing.fit(model, given, neighbours=5).layers
    assert best.surprise == min(score.surprise for score in scores)
    assert cheap.cost == min(score.cost for score in scores)


def test_a_layer_is_joined_with_those_before_it():
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(12)))
    tried = [score.at for score in tvbank.routing.fit(model, inputs(), neighbours=3).layers]
    assert ("0", "1") in tried
    assert tuple(map(str, range(6))) in tried
    deepest = max(tried, key=lambda at: (len(at), at[-1] == ""))
    assert (len(deepest), deepest[0], deepest[-1]) == (8, "0", "")


def test_of_many_examples_some_choose_the_places_and_all_make_the_router(monkeypatch):
    monkeypatch.setattr(_fit, "_LARGEST", 90)
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(4)))
    given = inputs(count=200)
    fitted = tvbank.routing.fit(model, given, neighbours=3)
    assert len(fitted.router.keys) == 600
    assert any(len(score.at) > 1 for score in fitted.layers)
    few = {name: x[np.arange(30) * 200 // 30] for name, x in given.items()}
    assert tvbank.routing.fit(model, few, neighbours=3).layers == fitted.layers


def test_of_large_examples_one_fold_is_held_out(monkeypatch):
    points = np.random.default_rng(0).normal(size=(40, 6))
    examples = gather({"a": points[:20], "b": points[20:] + 3})
    options = _metric.FitOptions.of(neighbours=3)
    assert len(_held_out.hold_out(examples, options).owners) == 40
    monkeypatch.setattr(_held_out, "_LARGE", 100)
    assert np.bincount(_held_out.hold_out(examples, options).owners).tolist() == [4, 4]


@pytest.mark.parametrize(("rank", "exact"), [(20, True), (None, False)])
def test_a_metric_along_some_examples_is_that_of_all_where_they_span_them(rank, exact, monkeypatch):
    chance = np.random.default_rng(0)
    points = chance.normal(size=(300, 120)) * 3
    points[:, :3] += 4 * np.repeat(np.eye(3), 100, axis=0)
    if rank:
        points = points[:, :rank] @ chance.normal(size=(rank, 120))
    examples = gather({name: points[100 * n : 100 * n + 100] for n, name in enumerate("abc")})
    whole = _metric.discriminant(examples)
    monkeypatch.setattr(_metric, "_MOST", 60)
    part = _metric.discriminant(examples)
    there, here = (metric.project(examples.points) for metric in (whole, part))
    same = np.abs(np.corrcoef(there.T, here.T)[[0, 1], [2, 3]])
    assert part.matrix.shape == whole.matrix.shape == (2, 120)
    assert same.min() > (0.999 if exact else 0.4)


def test_the_pooling_is_chosen_too():
    """Tokens of all tasks have mean 0; their spread is the task's."""
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(4)))
    noise = torch.randn(3, 40, 6, WIDTH)
    spread = torch.tensor([0.3, 1.0, 3.0]).reshape(3, 1, 1, 1)
    states = (noise - noise.mean(2, keepdim=True)) * spread
    given = dict(zip("abc", states, strict=True))
    fitted = tvbank.routing.fit(model, given, neighbours=5)
    assert fitted.chosen.pooling == fitted.router.recipe.pooling == "summary"
    assert any(len(score.at) > 1 for score in fitted.layers)
    mean = tvbank.routing.fit(model, given, neighbours=5, pooling="tokens")
    assert {score.pooling for score in mean.layers} == {"tokens"}
    assert mean.chosen.accuracy < fitted.chosen.accuracy


def test_wide_features_are_kept_as_centres_unless_examples_are_asked_for():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2100), nn.Linear(2100, 2))
    given = {name: torch.randn(30, 2) + 4 * number for number, name in enumerate("ab")}
    few = tvbank.routing.fit(model, given, layers=["0"], reject=None)
    assert (few.router.method.centres, len(few.router.keys)) == (10, 20)
    all_of_them = tvbank.routing.fit(model, given, layers=["0"], reject=None, centres=None)
    assert len(all_of_them.router.keys) == 60


def test_it_is_reproducible(model):
    one, two = (tvbank.routing.fit(model, inputs(spread=2.0), neighbours=3, seed=4) for _ in "ab")
    assert one.layers == two.layers
    assert one.router.keys.tobytes() == two.router.keys.tobytes()
    assert one.router.rejection == two.router.rejection


def test_candidates_can_be_given(model):
    fitted = tvbank.routing.fit(
        model, inputs(), layers=["norm", ["blocks.0", "blocks.1"]], neighbours=3, reject=None
    )
    assert {score.at for score in fitted.layers} == {("norm",), ("blocks.0", "blocks.1")}
    assert fitted.router.recipe.at == ("blocks.0", "blocks.1")
    assert fitted.router.recipe.width == 2 * WIDTH
    assert not fitted.router.rejects


@pytest.mark.parametrize(
    ("what", "given", "options"),
    [
        ("inputs of tasks", {}, {}),
        ("no inputs", {"a": torch.zeros(0, WIDTH), "b": torch.zeros(3, WIDTH)}, {}),
        ("got only 'task0'", {"task0": torch.randn(9, WIDTH)}, {"neighbours": 1}),
        ("two or more of a task", inputs(count=1), {"neighbours": 1}),
        ("no module 'nowhere'", inputs(), {"layers": ["nowhere"]}),
        ("layers= is empty", inputs(), {"layers": []}),
        ("tolerance=", inputs(), {"tolerance": -1}),
        ("not an option", inputs(), {"neighbors": 3}),
    ],
)
def test_bad_arguments(model, what, given, options):
    with pytest.raises(UsageError, match=what):
        tvbank.routing.fit(model, given, **options)
