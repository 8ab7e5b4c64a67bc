"""An interrupt while a decoder is compiled, in the middle of compiled code, reaches the user."""

import live
import numpy as np
import pytest
import torch

import tvbank
from tvbank.coding.decoding import decoders


class Other(BaseException):
    """As what a handler of another signal raises."""


def interrupting(monkeypatch, error):
    """Every decoder is compiled anew at its next call, which ``error`` stops."""

    def stopped(decoder, signature):
        raise error

    saved = decoders._TABLES.copy()
    monkeypatch.setattr(decoders, "compile_for_c", stopped)
    for slot in np.flatnonzero(saved[: decoders.RUN_TABLES_AT // 8]).tolist():
        decoders.enter(slot, [None])
    return saved


@pytest.fixture(scope="module")
def setting():
    torch.manual_seed(0)
    model = live.perceptron()
    state = live.state_of(model)
    bank = live.bank_of(state, {"a": live.fine_tune(state, 1), "b": live.fine_tune(state, 2)})
    switch = tvbank.attach(model, bank)
    switch.to({"a": 1.0, "b-exact": 0.5})
    switch.to("b")
    switch.off()
    return model, state, bank, switch


def prefetch(bank, switch, state):
    switch._cache._tasks.clear()
    switch.prefetch("a-exact", "a")


USES = {
    "dense": lambda bank, switch, state: bank["a"]["0.weight"].to_dense(),
    "sparse": lambda bank, switch, state: bank["a"]["0.weight"].to_sparse(),
    "merge": lambda bank, switch, state: tvbank.merge(bank, {"a": 0.5, "b": 0.5}, base=state),
    "to": lambda bank, switch, state: switch.to("a"),
    "sum": lambda bank, switch, state: switch.to({"a": 0.5, "a-exact": 0.5}),
    "prefetch": prefetch,
}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Other(), RecursionError("too deep")])
@pytest.mark.parametrize("use", USES)
def test_what_stops_a_decoder_is_raised(setting, use, error, monkeypatch, capfd):
    model, state, bank, switch = setting
    saved = interrupting(monkeypatch, error)
    try:
        with pytest.raises(type(error)):
            USES[use](bank, switch, state)
    finally:
        decoders._TABLES[:] = saved
    assert "Traceback" not in capfd.readouterr().err
    USES[use](bank, switch, state)
    switch.off()
    live.assert_same(model, state)
