"""Whatever batches come in whatever order, each example gets its own merged weights."""

import live
import numpy as np
import routed
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tvbank
from tvbank.routing.cascade import Cascade, Stage

MODEL, STATE, TUNES, BANK = routed.setting()
ROUTERS = {
    (at, reject): routed.router_for(MODEL, at, spread=1.5, reject=reject)
    for at in ("embed", "body")
    for reject in (None, 0.1)
}
EXPERTS = {}


def expert(weights):
    """A model with these merged weights, a copy of its own."""
    key = tuple(sorted(weights.items()))
    if key not in EXPERTS:
        merged = tvbank.merge(BANK, weights, base=STATE) if weights else STATE
        EXPERTS[key] = routed.twin(merged)
    return EXPERTS[key]


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
    router = ROUTERS["body", reject]
    if cascaded:
        router = Cascade([Stage(ROUTERS["embed", reject], 0.7), router])
    failing = []

    def forward(model, rows):
        if failing and failing.pop() == "now":
            raise RuntimeError("as asked")
        return {"scores": model(rows), "count": None}

    auto = tvbank.AutoSwitch(
        MODEL, BANK, router, mode,
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
                live.assert_same(MODEL, STATE)
                continue
            if listed:
                outputs = {"scores": torch.cat([each["scores"] for each in outputs])}
            last = auto.last
            assert (last.weights.sum(1) < 1 + 1e-9).all()
            assert np.isin(last.stages, (0, 1)).all()
            for row, weights in enumerate(last.weights):
                wanted = {n: float(w) for n, w in zip(auto.tasks, weights, strict=True) if w}
                alone = expert(wanted)(inputs[row : row + 1])
                torch.testing.assert_close(outputs["scores"][row : row + 1], alone)
    live.assert_same(MODEL, STATE)
