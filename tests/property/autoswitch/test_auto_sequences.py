"""Whatever batches come in whatever order, each example gets its own merged weights."""

from functools import cache

import live
import numpy as np
import routed
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tvbank
from tvbank.routing.cascade import Cascade, Stage

setting = cache(routed.setting)


@cache
def router(at, reject):
    return routed.router_for(setting()[0], at, spread=1.5, reject=reject)


@cache
def expert(weights):
    """A model with merged weights, a copy of its own; ``weights`` are pairs of task and weight."""
    _, state, _, bank = setting()
    return routed.twin(tvbank.merge(bank, dict(weights), base=state) if weights else state)


BATCHES = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(routed.NAMES), st.integers(1, 5), min_size=1),
        st.integers(0, 3),
        st.sampled_from(["call", "route", "fail"]),
    ),
    min_size=1, max_size=4,
)  # fmt: skip


@settings(max_examples=40)
@given(
    BATCHES,
    st.sampled_from(["sample", "batch", "top1"]),
    st.sampled_from([None, 0.1]),
    st.booleans(), st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip
def test_sequences(batches, mode, reject, cascaded, pool, twin, listed):
    model, state, _, bank = setting()
    chosen = router("body", reject)
    if cascaded:
        chosen = Cascade([Stage(router("embed", reject), 0.7), chosen])
    failing = []

    def forward(model, rows):
        if failing and failing.pop() == "now":
            raise RuntimeError("as asked")
        return {"scores": model(rows), "count": None}

    auto = tvbank.AutoSwitch(
        model, bank, chosen, mode,
        forward=forward, pool=pool, twin=twin, outputs="list" if listed else "stack",
    )  # fmt: skip
    with auto:
        for counts, seed, what in batches:
            inputs, _ = routed.mixed(counts, seed, 1.5)
            if what == "route":
                found = auto.route(inputs)
                assert len(found.tasks) == len(inputs)
                continue
            failing[:] = ["now"] if what == "fail" else []
            try:
                outputs = auto(inputs)
            except RuntimeError:
                assert what == "fail"
                live.assert_same(model, state)
                continue
            if listed:
                outputs = {"scores": torch.cat([each["scores"] for each in outputs])}
            last = auto.last
            assert (last.weights.sum(1) < 1 + 1e-9).all()
            assert np.isin(last.stages, (0, 1)).all()
            for row, weights in enumerate(last.weights):
                named = zip(auto.tasks, weights, strict=True)
                wanted = tuple((name, float(weight)) for name, weight in named if weight)
                alone = expert(wanted)(inputs[row : row + 1])
                torch.testing.assert_close(outputs["scores"][row : row + 1], alone)
    live.assert_same(model, state)
