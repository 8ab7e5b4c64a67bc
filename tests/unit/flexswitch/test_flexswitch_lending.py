"""Modules have their weights only while they run: the same numbers, in less memory."""

import copy
import weakref

import banks
import pytest
import small
import torch
from language import Language, learned
from torch import nn

import tvbank
from tvbank.flexswitch import _flexswitch, _lending
from tvbank.flexswitch._weights import Weights
from tvbank.flexswitch.bytes.units import BytesUnits


@pytest.fixture(scope="module")
def base():
    return Language()


@pytest.fixture
def lent(monkeypatch):
    monkeypatch.setattr(_flexswitch, "LENT", 0)


@pytest.mark.parametrize("objective", ["paper", "bytes"])
@pytest.mark.parametrize("recompute", [False, True])
def test_the_same_numbers(base, monkeypatch, objective, recompute):
    options = {"objective": objective, "gradient_checkpointing": recompute, "steps": 8}
    before = copy.deepcopy(base.state_dict())
    whole = learned(base, **options)
    monkeypatch.setattr(_flexswitch, "LENT", 0)
    assert learned(base, **options) == whole
    assert all(torch.equal(weight, before[name]) for name, weight in base.state_dict().items())


def test_few_weights_exist_at_the_same_time(base, lent, monkeypatch):
    make, living, most = Weights.make_one, [], [0]

    def tracked(self, number, fill):
        tensor = make(self, number, fill)
        living[:] = [one for one in living if one() is not None]
        living.append(weakref.ref(tensor))
        most[0] = max(most[0], len(living))
        return tensor

    monkeypatch.setattr(Weights, "make_one", tracked)
    learned(base, steps=2)
    units = len(list(base.parameters()))
    assert 0 < most[0] <= 3 < units


class Beside(nn.Module):
    """Reads the weights of a module that it does not call."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.inner = nn.Linear(16, 8)
        self.outer = nn.Linear(8, 4)

    def forward(self, x):
        return self.outer(nn.functional.linear(x, self.inner.weight))


def test_a_model_that_reads_weights_beside_its_modules(lent, monkeypatch):
    base = Beside().eval()
    given = torch.randn(32, 16, generator=torch.Generator().manual_seed(2))

    def run():
        flex = tvbank.FlexSwitch(base, given, steps=4, batch=8, lam=2.0)
        return banks.numbers(small.bank(base).add("t", small.tuned(base), flex))

    ended = []
    end = _lending.Lending.end
    monkeypatch.setattr(_lending.Lending, "end", lambda self: (ended.append(1), end(self)))
    found = run()
    assert ended
    monkeypatch.setattr(_flexswitch, "LENT", 2**40)
    assert run() == found


class Tied(Language):
    """The head has the weights of the embeddings."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(16, self.tokens.num_embeddings, bias=False)
        self.head.weight = self.tokens.weight


def test_tied_weights_get_the_gradients_of_both_uses(monkeypatch):
    received = []
    add = BytesUnits.add_gradient

    def receive(self, number, gradient):
        received.append((self._weights.names[number], gradient.clone()))
        add(self, number, gradient)

    monkeypatch.setattr(BytesUnits, "add_gradient", receive)
    sums = []
    for most in (2**40, 0):
        monkeypatch.setattr(_flexswitch, "LENT", most)
        received.clear()
        learned(Tied(), objective="bytes", steps=1)
        of_tied = [gradient for name, gradient in received if name == "tokens.weight"]
        assert len(of_tied) == (1 if most else 2)
        sums.append(torch.stack(of_tied).sum(0))
    assert torch.allclose(*sums, rtol=1e-5, atol=1e-9)
