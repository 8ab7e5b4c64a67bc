"""Any module: whatever its parameters are like, switching is export and merge, bit for bit."""

import live
import pytest
import torch

import tvbank
from tvbank.errors import CheckpointError, UnitMismatchError, UsageError
from tvbank.switching import _memory


@pytest.fixture(params=live.MODELS)
def model(request):
    torch.manual_seed(0)
    return live.MODELS[request.param]()


@pytest.fixture(params=["direct", "indexed"])
def reach(request, monkeypatch):
    """The fused loops where they can be used; and as if every tensor were on another device."""
    if request.param == "indexed":
        plain = _memory.Target.__init__

        def indirect(self, *arguments):
            plain(self, *arguments)
            self.direct = False

        monkeypatch.setattr(_memory.Target, "__init__", indirect)


@pytest.mark.usefixtures("reach")
def test_a_task_is_what_export_writes_and_off_is_the_base(model, tmp_path):
    state = live.state_of(model)
    bank = live.bank_of(state, {"a": live.fine_tune(state, 1), "b": live.fine_tune(state, 2)})
    switch = tvbank.attach(model, bank)
    for name in [*bank, *reversed(list(bank))]:
        switch.to(name)
        live.assert_same(model, live.exported(bank, name, state, tmp_path))
        assert switch.active == name
    switch.off()
    live.assert_same(model, state)
    assert switch.active is None


@pytest.mark.filterwarnings("ignore:the sum leaves units")  # those in float64
@pytest.mark.usefixtures("reach")
def test_a_sum_is_what_merge_returns(model):
    state = live.state_of(model)
    bank = live.bank_of(state, {"a": live.fine_tune(state, 1), "b": live.fine_tune(state, 2)})
    switch = tvbank.attach(model, bank)
    mergeable = [name for name in bank if not set(bank[name].extras) & set(bank.layout.by_name)]
    for weights in (
        dict.fromkeys(mergeable, 0.3),
        {mergeable[0]: 1.0},
        {mergeable[-1]: -0.7},
        {name: 0.5 - number for number, name in enumerate(reversed(mergeable))},
    ):
        switch.to(weights)
        live.assert_same(model, tvbank.merge(bank, weights, base=state))
        assert switch.active == weights
    switch.to({})
    live.assert_same(model, state)


def test_tensors_stay_where_they_are(model):
    state = live.state_of(model)
    bank = live.bank_of(state, {"a": live.fine_tune(state)})
    switch = tvbank.attach(model, bank)
    before = {n: (t, t.data_ptr(), t.stride()) for n, t in model.named_parameters()}
    flags = {name: t.requires_grad for name, t in model.named_parameters()}
    switch.to("a")
    switch.off()
    assert before == {n: (t, t.data_ptr(), t.stride()) for n, t in model.named_parameters()}
    assert flags == {name: t.requires_grad for name, t in model.named_parameters()}


def test_the_forward_pass_sees_the_task():
    torch.manual_seed(0)
    model = live.Convolution().eval()
    state = live.state_of(model)
    tuned = live.fine_tune(state)
    bank = live.bank_of(state, {"a": tuned})
    twin = live.Convolution().eval()
    twin.load_state_dict(tuned)
    images = torch.randn(2, 3, 8, 8)
    switch = tvbank.attach(model, bank)
    before = model(images)
    switch.to("a-exact")
    assert torch.equal(model(images), twin(images))
    switch.off()
    assert torch.equal(model(images), before)


def test_a_compiled_or_wrapped_model_is_the_same_model():
    model = live.perceptron()
    state = live.state_of(model)
    bank = live.bank_of(state, {"a": live.fine_tune(state)})
    wrapped = torch.nn.Module()
    wrapped.add_module("_orig_mod", model)
    tvbank.attach(wrapped, bank).to("a")
    with pytest.raises(AssertionError):
        live.assert_same(model, state)


def test_autograd_refuses_to_go_back_through_other_weights():
    model = live.perceptron()
    state = live.state_of(model)
    switch = tvbank.attach(model, live.bank_of(state, {"a": live.fine_tune(state)}))
    loss = model(torch.randn(3, 24, requires_grad=True)).square().sum()
    switch.to("a")
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    model(torch.randn(3, 24)).sum().backward()
    switch.off()
    live.assert_same(model, state)


@pytest.mark.usefixtures("reach")
def test_inference_mode_and_inference_tensors():
    torch.manual_seed(0)
    with torch.inference_mode():
        model = live.perceptron()
        model.add_module("head", torch.nn.Linear(2, 3))
        model.add_module("other", torch.nn.Linear(2, 2))
    plain = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    base = {n: t for n, t in plain.items() if not n.startswith(("head", "other"))}
    tuned = live.fine_tune(base)
    whole = {"head.weight": torch.ones(4, 2), "other.weight": torch.ones(2, 2)}
    bank = live.bank_of(base, {"a": tuned | whole})
    switch = tvbank.attach(model, bank)
    for mode in (False, True, False):
        with torch.inference_mode(mode):
            switch.to("a-exact")
            live.assert_same(model, tuned | whole)
            switch.to({"a": 0.5})
    with torch.inference_mode():
        switch.off()
    live.assert_same(model, plain)


@pytest.mark.usefixtures("reach")
def test_what_is_made_in_inference_mode_can_be_trained():
    torch.manual_seed(0)
    model = live.perceptron()
    model.add_module("head", torch.nn.Linear(5, 2))
    base = {n: t for n, t in live.state_of(model).items() if not n.startswith("head")}
    bank = live.bank_of(base, {"a": live.fine_tune(base) | {"head.weight": torch.ones(3, 5)}})
    switch = tvbank.attach(model, bank)
    with torch.inference_mode():
        switch.to("a")
    model[:3](torch.randn(2, 24)).matmul(model.head.weight.T).sum().backward()
    assert model.head.weight.grad is not None
    with torch.inference_mode():
        switch.off()
    live.assert_same(model, base)


def test_names_that_the_base_ties_and_the_model_does_not():
    torch.manual_seed(0)
    state = live.state_of(live.Tied())
    tuned = live.fine_tune(state)
    bank = live.bank_of(state, {"a": tuned})
    assert "unembed.weight" in {**bank.layout.tied, **bank.layout.by_name}
    untied = live.Tied()
    untied.unembed.weight = torch.nn.Parameter(untied.embed.weight.detach().clone())
    untied.load_state_dict(state)
    switch = tvbank.attach(untied, bank)
    switch.to("a-exact")
    live.assert_same(untied, tuned)
    switch.off()
    live.assert_same(untied, state)


def test_names_that_the_model_ties_and_the_base_does_not():
    torch.manual_seed(0)
    model = live.Tied()
    apart = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    same = live.fine_tune(apart)
    for alias, owner in (("unembed.weight", "embed.weight"), ("again.weight", "layer.weight"),
                         ("again.bias", "layer.bias")):  # fmt: skip
        same[alias] = same[owner].clone()
    bank = live.bank_of(apart, {"same": same, "differs": live.fine_tune(apart)})
    assert not bank.layout.tied
    switch = tvbank.attach(model, bank)
    switch.to("same-exact")
    live.assert_same(model, same)
    with pytest.raises(UnitMismatchError, match=r"unembed\.weight.*differently|weight.*weight"):
        switch.to("differs-exact")
    switch.off()
    live.assert_same(model, apart)


def test_expanded_and_overlapping_memory_is_refused():
    state = {"w": torch.ones(4, 3), "v": torch.ones(4, 3)}
    bank = live.bank_of(state, {})
    model = torch.nn.Module()
    model.w = torch.nn.Parameter(torch.ones(3).expand(4, 3))
    model.v = torch.nn.Parameter(torch.ones(4, 3))
    with pytest.raises(UsageError, match="share memory with each other"):
        tvbank.attach(model, bank)
    whole = torch.ones(20)
    model.w, model.v = (torch.nn.Parameter(whole[i : i + 12].view(4, 3)) for i in (0, 8))
    with pytest.raises(UsageError, match="overlap in memory"):
        tvbank.attach(model, bank)


def test_interleaved_memory_is_not_overlapping(tmp_path):
    both = torch.randn(6, 10)
    model = torch.nn.Module()
    model.left, model.right = torch.nn.Parameter(both[:, :4]), torch.nn.Parameter(both[:, 4:])
    state = live.state_of(model)
    bank = live.bank_of(state, {"a": live.fine_tune(state)})
    switch = tvbank.attach(model, bank)
    switch.to("a")
    live.assert_same(model, live.exported(bank, "a", state, tmp_path))
    switch.off()
    live.assert_same(model, state)


def test_tensors_without_memory_are_refused():
    state = {"w": torch.ones(4, 3)}
    bank = live.bank_of(state, {})
    model = torch.nn.Module()
    model.w = torch.nn.Parameter(torch.ones(4, 3, device="meta"))
    with pytest.raises(CheckpointError, match="meta"):
        tvbank.attach(model, bank)


@pytest.mark.parametrize("whose", ["torch's", "ours"])
def test_many_chunks_on_several_threads(tmp_path, whose, monkeypatch):
    if whose == "ours":
        monkeypatch.setattr("tvbank.switching._threads.torch_team", lambda: None)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(600, 500), torch.nn.Linear(500, 300))
    state = live.state_of(model)
    tunes = {"a": live.fine_tune(state, 1), "b": live.fine_tune(state, 2)}
    bank = live.bank_of(state, tunes, chunk_length=2**12)
    switch = tvbank.attach(model, bank)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            for name in bank:
                switch.to(name)
                live.assert_same(model, live.exported(bank, name, state, tmp_path))
            exact = {"a": 0.5, "b-exact": 0.25, "b": -1.0}
            for weights in (exact, {"a": 0.5, "b": -1.0}, {"b": 0.3}, {"b": 1.0, "a": 1.0}):
                switch.to(weights)
                live.assert_same(model, tvbank.merge(bank, weights, base=state))
            switch.off()
            live.assert_same(model, state)
    finally:
        torch.set_num_threads(threads)
