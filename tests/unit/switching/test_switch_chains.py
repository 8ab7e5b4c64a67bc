"""Switching along a chain: step by step in place, and back to the base bit for bit."""

import itertools

import chained
import numpy as np
import pytest
import torch

import tvbank
from tvbank.merging.tensor import to_torch

STATES = chained.states_of(5)


class Holder(torch.nn.Module):
    """Every tensor of a state as a parameter or buffer of its name; ``head again`` is tied."""

    def __init__(self, state):
        super().__init__()
        for name, array in state.items():
            if name == "head again":
                continue
            tensor = to_torch(array.copy())
            if array.dtype.kind == "i":
                self.register_buffer(name, tensor)
            else:  # a module has methods of such names: half, float
                self._parameters[name] = torch.nn.Parameter(tensor)
        self._parameters["head again"] = self._parameters["head"]


def held(model):
    """The bytes of every tensor of a model."""
    return {n: t.detach().reshape(-1).view(torch.uint8).numpy().tobytes()
            for n, t in model.state_dict().items()}  # fmt: skip


def expected(state):
    return {name: array.tobytes() for name, array in state.items()}


@pytest.fixture(scope="module")
def bank():
    return chained.chain(STATES)


@pytest.fixture
def model():
    return Holder(STATES[0])


def test_any_order_gives_every_state_and_the_base(bank, model):
    switch = tvbank.attach(model, bank)
    numbers = [1, 2, 3, 2, 5, 1, 4, 5, 3]
    for number in numbers:
        switch.to(f"step-{number}")
        assert held(model) == expected(STATES[number])
    switch.off()
    assert held(model) == expected(STATES[0])
    for first, second in itertools.permutations((0, 1, 3, 5), 2):
        for number in (first, second):
            switch.to(f"step-{number}") if number else switch.off()
            assert held(model) == expected(STATES[number])
    switch.close()
    assert held(model) == expected(STATES[0])


def test_one_step_writes_only_what_it_changes(bank, model, monkeypatch):
    from tvbank.switching import _change

    switch = tvbank.attach(model, bank)
    switch.to("step-2")
    added = []
    one = _change.OneTask
    monkeypatch.setattr(
        _change, "OneTask", lambda task, *more: added.append(task.name) or one(task, *more)
    )
    switch.to("step-3")
    assert added == ["step-3"]
    switch.to("step-5")
    assert added == ["step-3", "step-4", "step-5"]
    switch.to("step-4")  # one step back
    assert added == ["step-3", "step-4", "step-5"]
    assert held(model) == expected(STATES[4])
    switch.close()


def test_other_strides_follow_too(bank):
    model = Holder(STATES[0])
    wide = torch.nn.Parameter(model.embedding.detach().T.contiguous().T)
    model.embedding = wide
    assert not wide.is_contiguous()
    switch = tvbank.attach(model, bank)
    for number in (2, 3, 1):
        switch.to(f"step-{number}")
        assert held(model) == expected(STATES[number])
    switch.close()
    assert held(model) == expected(STATES[0])


def test_a_failure_in_the_middle_gives_the_base(bank, model, monkeypatch):
    from tvbank.switching import _change

    switch = tvbank.attach(model, bank)
    switch.to("step-2")
    one, seen = _change.OneTask, []

    def fails(task, *more):
        seen.append(task.name)
        if len(seen) == 2:
            raise RuntimeError("no")
        return one(task, *more)

    monkeypatch.setattr(_change, "OneTask", fails)
    with pytest.raises(RuntimeError, match="no"):
        switch.to("step-5")
    monkeypatch.undo()
    assert switch.active is None
    assert held(model) == expected(STATES[0])
    switch.to("step-5")
    assert held(model) == expected(STATES[5])
    switch.close()


def test_sums_of_chained_tasks_are_what_merge_gives(tmp_path):
    finite = [STATES[0]]
    for seed in range(2):
        torch.manual_seed(seed)
        finite.append({
            n: a if a.dtype.kind == "i" or n == "head again"
            else np.asarray(a + 0.1 * torch.randn(a.shape).numpy()).astype(a.dtype)
            for n, a in finite[-1].items()
        })  # fmt: skip
        finite[-1]["head again"] = finite[-1]["head"]
    bank = chained.chain(finite)
    model = Holder(finite[0])
    switch = tvbank.attach(model, bank)
    switch.to("step-2")
    switch.to({"step-2": 0.5, "step-1": 0.25})
    merged = tvbank.merge(bank, {"step-2": 0.5, "step-1": 0.25})
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, merged[name]), name
    switch.to("step-1")
    assert held(model) == expected(finite[1])
    switch.close()
    assert held(model) == expected(finite[0])
