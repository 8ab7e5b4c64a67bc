"""Cascades: who is sure decides, and the batch may be asked which tasks are in it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import tvbank
from tvbank.errors import UsageError
from tvbank.routing.cascade import ALWAYS, Cascade, Stage, Verdict, choose_thresholds, pooled

NAMES = ("a", "b", "c")


def examples(spread, count=40, seed=0):
    """Features [n, 6] of three tasks; with a larger spread they overlap."""
    rng = np.random.default_rng(seed)
    centres = np.eye(3, 6) * 3
    return {n: centres[k] + spread * rng.standard_normal((count, 6)) for k, n in enumerate(NAMES)}


def router(spread, **options):
    options.setdefault("reject", None)
    return tvbank.Router.fit(examples(spread), at=f"layer {spread}", **options)


def right(stages, held_out, truth):
    """Who decides each example, and how many are right."""
    top = np.full(len(truth), -9)
    left = np.ones(len(truth), bool)
    deciders = np.zeros(len(truth), int)
    for number, stage in enumerate(stages):
        verdict = stage.judge(held_out[number])
        sure = verdict.confidence >= (stage.threshold if number < len(stages) - 1 else 0)
        top = np.where(left & sure, verdict.top, top)
        deciders = np.where(left & sure, number, deciders)
        left &= ~sure
    return int((top == truth).sum()), deciders


def test_a_calibrated_cascade_loses_no_more_than_it_may():
    routers = [router(1.5), router(0.8), router(0.5)]
    held = [examples(spread, 100, 1) for spread in (1.5, 0.8, 0.5)]
    rows = [np.concatenate([each[name] for name in NAMES]) for each in held]
    truth = np.repeat(np.arange(3), 100)
    best = max(int((r.top(x) == truth).sum()) for r, x in zip(routers, rows, strict=True))
    shares = []
    for loss in (0.0, 0.01, 0.03, 0.5):
        found = Cascade.calibrate(routers, held, loss=loss)
        correct, deciders = right(found.stages, rows, truth)
        assert correct >= best - loss * len(truth)
        shares.append(float((deciders == 0).mean()))
    assert shares == sorted(shares)
    assert shares[0] < shares[-1] == 1.0


def test_the_cheapest_cascade_leaves_out_what_does_not_pay():
    spreads = (1.5, 0.8, 0.5)
    routers, held = [router(s) for s in spreads], [examples(s, 100, 1) for s in spreads]

    def places(costs, loss=0.01):
        found = Cascade.cheapest(routers, costs, held, loss=loss)
        return [stage.router.recipe.at[0] for stage in found.stages]

    assert places((1, 1, 1)) == ["layer 0.5"]
    assert places((1, 1, 1), loss=0.9) in (["layer 0.5"], ["layer 0.8"], ["layer 1.5"])
    assert places((0, 0, 5))[-1] == "layer 0.5"
    assert len(places((0, 0, 5))) > 1
    assert places((0, 1, 1e6), loss=0.9) == ["layer 1.5"]
    with pytest.raises(UsageError, match="each with its cost"):
        Cascade.cheapest(routers, (1,), held)
    with pytest.raises(UsageError, match="loss="):
        Cascade.cheapest(routers, (1, 1, 1), held, loss=-1)


@given(st.data())
def test_thresholds_are_the_lowest_that_lose_no_more_than_allowed(data):
    count = data.draw(st.integers(1, 12))
    confidences = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
    tops = st.lists(st.integers(0, 2), min_size=count, max_size=count)
    verdicts = []
    for _ in range(2):
        top = np.array(data.draw(tops))
        sure = np.array(data.draw(st.lists(confidences, min_size=count, max_size=count)))
        likely = np.repeat((1 - sure)[:, None] / 2, 3, 1)
        likely[np.arange(count), top] = sure
        verdicts.append(Verdict(np.zeros((count, 3)), top, likely))
    truth = np.array(data.draw(tops))
    loss = data.draw(st.sampled_from([0.0, 0.1, 0.5]))
    first, last = verdicts
    needed = max((first.top == truth).sum(), (last.top == truth).sum()) - loss * count
    thresholds = choose_thresholds(verdicts, truth, needed)
    assert thresholds[1] == ALWAYS

    def correct(threshold):
        return (np.where(first.confidence >= threshold, first.top, last.top) == truth).sum()

    fitting = [t for t in (0.0, 0.25, 0.5, 0.75, 1.0) if correct(t) >= needed]
    if fitting:
        assert correct(thresholds[0]) >= needed
        decided = (first.confidence >= thresholds[0]).sum()
        assert decided == (first.confidence >= min(fitting)).sum()
    else:
        assert thresholds[0] == 1.0


def test_confidence_is_calibrated_and_rejection_has_none():
    known = router(1.0, reject=0.02)
    held = examples(1.0, 200, 3)
    rows = np.concatenate([held[name] for name in NAMES])
    truth = np.repeat(np.arange(3), 200)
    found = Cascade.calibrate([known], [held]).stages[0]
    verdict = found.judge(rows)
    accepted = verdict.top >= 0
    sure = verdict.confidence[accepted]
    assert abs(sure.mean() - (verdict.top == truth)[accepted].mean()) < 0.05
    np.testing.assert_allclose(verdict.posterior[accepted].sum(1), 1)
    far = found.judge(1e4 * np.ones((2, 6)))
    assert (far.top.tolist(), far.confidence.tolist()) == ([-1, -1], [0, 0])
    assert not far.posterior.any()


@given(
    arrays.arrays(
        np.float64, st.tuples(st.integers(1, 9), st.integers(1, 4)),
        elements=st.floats(1e-6, 1),
    ),
    st.floats(0, 3),
)  # fmt: skip
def test_pooled_posteriors_are_posteriors(likely, least):
    likely /= likely.sum(1, keepdims=True)
    likely[0] = 0
    found = pooled(likely, least)
    assert not found[0].any()
    np.testing.assert_allclose(found[1:].sum(1), 1)
    assert (found >= 0).all()


def test_pooling_follows_the_batch():
    one_task = np.tile([0.8, 0.15, 0.05], (30, 1))
    doubtful = np.array([[0.4, 0.5, 0.1]])
    assert pooled(np.concatenate([one_task, doubtful]))[-1].argmax() == 0
    both = np.concatenate([one_task, np.tile([0.1, 0.85, 0.05], (30, 1)), doubtful])
    assert pooled(both)[-1].argmax() == 1


def test_a_task_with_hardly_an_example_is_not_in_the_batch():
    one_task = np.tile([0.8, 0.15, 0.05], (31, 1))
    wrong = np.array([[0.001, 0.998, 0.001]])
    batch = np.concatenate([one_task, wrong])
    assert pooled(batch)[-1].argmax() == 0
    assert pooled(batch, 0.0)[-1].argmax() == 1
    assert pooled(np.concatenate([batch, wrong, wrong]))[-1].argmax() == 1
    assert pooled(np.concatenate([one_task[:3], wrong]))[-1].argmax() == 1  # one in four is much
    impossible = np.array([[0.0, 1.0, 0.0]])
    assert pooled(np.concatenate([one_task, impossible]))[-1].tolist() == [0, 1, 0]
    each = np.eye(100) * 0.9 + 0.001
    np.testing.assert_array_equal(pooled(each).argmax(1), np.arange(100))


@pytest.mark.parametrize("options", [{}, {"centres": 10}, {"metric": "euclidean"}])
def test_posteriors_are_as_often_right_as_they_say(options):
    fitted = tvbank.Router.fit(examples(1.5, 60), reject=None, **options)
    fresh = examples(1.5, 400, 7)
    rows = np.concatenate([fresh[name] for name in NAMES])
    likely = fitted.posterior(rows)
    np.testing.assert_allclose(likely.sum(1), 1)
    right = likely.argmax(1) == np.repeat(np.arange(3), 400)
    assert abs(likely.max(1).mean() - right.mean()) < 0.05
    means = np.stack([fitted.keys[fitted.owners == k].mean(0) for k in range(3)])
    if fitted.metric is not None:
        means, rows = fitted.metric.project(means), fitted.metric.project(rows.astype("f4"))
    squares = ((rows[:, None] - means) ** 2).sum(2)
    plain = np.exp(-(squares - squares.min(1, keepdims=True)) / (2 * fitted.spread))
    np.testing.assert_allclose(likely, plain / plain.sum(1, keepdims=True), rtol=1e-3, atol=1e-6)


def test_features_that_overfit_are_trusted_less():
    rng = np.random.default_rng(0)

    def wide(count, seed):
        noise = np.random.default_rng(seed).standard_normal((3, count, 400))
        return {n: centres[k] + noise[k] for k, n in enumerate(NAMES)}

    centres = 0.15 * rng.standard_normal((3, 400))
    fitted = tvbank.Router.fit(wide(30, 1), reject=None)
    fresh = wide(300, 2)
    likely = fitted.posterior(np.concatenate([fresh[name] for name in NAMES]))
    right = likely.argmax(1) == np.repeat(np.arange(3), 300)
    assert abs(likely.max(1).mean() - right.mean()) < 0.06
    assert fitted.spread > 2 * fitted._around.variance


def test_a_spread_without_anything_held_out():
    lone = tvbank.Router.fit({"a": np.eye(6)[:1], "b": -np.eye(6)[:1]}, neighbours=1)
    assert lone.spread == 4 * lone._around.variance
    assert lone.posterior(np.eye(6)[:1]).argmax() == 0


def test_routers_of_different_tasks_and_senseless_arguments():
    first = router(0.5)
    other = tvbank.Router.fit({"a": np.eye(6), "z": -np.eye(6)}, neighbours=2)
    with pytest.raises(UsageError, match="same tasks"):
        Cascade([first, other])
    with pytest.raises(UsageError, match="one router at least"):
        Cascade([])
    for threshold in (-0.1, 1.1, np.nan):
        with pytest.raises(UsageError, match="threshold"):
            Stage(first, threshold)
    with pytest.raises(UsageError, match="2 routers, but held-out features for 1"):
        Cascade.calibrate([first, first], [examples(0.5)])
    with pytest.raises(UsageError, match="no held-out examples of task 'b'"):
        Cascade.calibrate([first], [{"a": np.zeros((1, 6)), "c": np.zeros((1, 6))}])
    with pytest.raises(UsageError, match="differ in number"):
        Cascade.calibrate([first, first], [examples(0.5), examples(0.5, 7)])
    with pytest.raises(UsageError, match="loss="):
        Cascade.calibrate([first], [examples(0.5)], loss=1.0)
    assert repr(Cascade([first, first])).startswith("Cascade(3 tasks, ['layer 0.5'] if 0.900 sure")


def test_without_held_out_examples_the_kept_ones_are_held_out_in_turn():
    kept = [examples(spread, 60, 5) for spread in (1.5, 0.5)]
    made = [tvbank.Router.fit(each, at=f"{k}", reject=0.05) for k, each in enumerate(kept)]
    found = Cascade.calibrate(made)
    assert [stage.router for stage in found.stages] == made
    assert 0 < found.stages[0].threshold < 1
    again = Cascade.calibrate(made)
    assert [vars(s)["threshold"] for s in again.stages] == [s.threshold for s in found.stages]
    fresh = [examples(spread, 300, 6) for spread in (1.5, 0.5)]
    rows = [np.concatenate([each[name] for name in NAMES]) for each in fresh]
    truth = np.repeat(np.arange(3), 300)
    correct, deciders = right(found.stages, rows, truth)
    assert correct >= 0.95 * (made[1].top(rows[1]) == truth).sum()
    assert (deciders == 0).any()
    assert len(Cascade.cheapest(made, (0.0, 1.0)).stages) == 2


def test_routers_that_cannot_be_cross_validated():
    with_centres = tvbank.Router.fit(examples(0.5), centres=10, reject=None)
    with pytest.raises(UsageError, match="without centres="):
        Cascade.calibrate([with_centres])
    with pytest.raises(UsageError, match="keep the same examples"):
        Cascade.calibrate([router(0.5), tvbank.Router.fit(examples(0.5, 7))])
    with pytest.raises(UsageError, match="two examples of each task"):
        Cascade.calibrate([tvbank.Router.fit(examples(0.5, 1), neighbours=1, reject=None)])
