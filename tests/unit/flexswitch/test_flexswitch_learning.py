"""Learning end to end on a small model: what comes out, resuming, what stays as it was."""

import copy

import banks
import numpy as np
import pytest
import small
import torch
from torch import nn
from watching import Seen

import tvbank
from tvbank.errors import StorageError, UsageError
from tvbank.storage import MemoryStorage


@pytest.fixture(scope="module")
def base():
    return small.model()


def flex(base, **options):
    given = {"inputs": small.inputs(), "steps": 120, "batch": 16, "lam": 1.0} | options
    return tvbank.FlexSwitch(base, **given)


def distance(base, bank, task):
    """Mean absolute difference of the logits of a task in the bank and of the fine-tune."""
    x = small.inputs(200, seed=9)
    logits = []
    for state in (small.tuned(base), tvbank.merge(bank, {task: 1.0}, base=base.state_dict())):
        model = small.model()
        model.load_state_dict(state)
        logits.append(model(x).detach())
    return float((logits[0] - logits[1]).abs().mean())


@pytest.mark.parametrize("loss", ["kl", "mse", "cka"])
@pytest.mark.parametrize("objective", ["paper", "bytes"])
def test_what_is_learned_is_smaller_and_better_than_thresholds_alone(base, loss, objective):
    bank = small.bank(base)
    seen = Seen()
    lam = {"kl": 2.0, "mse": 0.5, "cka": 10.0}[loss] * (20 if objective == "bytes" else 1)
    options = {"loss": loss, "objective": objective, "lam": lam}
    task = bank.add("flex", small.tuned(base), flex(base, **options), progress=seen)
    seen = seen.details["learning"]
    assert [step.step for step in seen] == list(range(1, 121))
    assert objective == "bytes" or seen[-1].density < seen[0].density
    assert 0 < task.nonzeros < 0.6 * sum(unit.size for unit in bank.layout.units)
    share = task.nonzeros / sum(unit.size for unit in bank.layout.units)
    bank.add("tswitch", small.tuned(base), tvbank.TSwitch(drop=1 - share))
    if loss != "cka":  # which does not mind the logits' scale
        assert distance(base, bank, "flex") < distance(base, bank, "tswitch")
    assert task.compressor["name"] == "flexswitch"
    assert task.compressor["loss"] == loss


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(base):
    revisions = []
    for seed in (0, 0, 1):
        bank = small.bank(base)
        revisions.append(bank.add("t", small.tuned(base), flex(base, steps=40, seed=seed)))
    first, again, other = (banks.numbers(task) for task in revisions)
    assert first == again
    assert first != other


def test_neither_the_model_nor_its_mode_changes(base):
    model = nn.Sequential(small.model(), nn.Dropout(0.5)).train()
    model[0].eval()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    bank = small.bank(base)
    bank.add("t", small.tuned(base), flex(model, steps=12))  # the base's units, below "0."
    assert modes == [module.training for module in model.modules()]
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_a_killed_run_goes_on_to_the_same_result(base, tmp_path, monkeypatch):
    whole = small.bank(base)
    whole.add("t", small.tuned(base), flex(base, steps=70))
    bank = small.bank(base)
    before = banks.contents(bank.storage)
    path = tmp_path / "run"

    def stop(step):
        if step.step == 60:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bank.add("t", small.tuned(base), flex(base, steps=70, checkpoint=path), progress=Seen(stop))
    assert banks.contents(bank.storage) == before
    seen = Seen()
    options = {"steps": 70, "checkpoint": path}
    bank.add("t", small.tuned(base), flex(base, **options), progress=seen)
    assert seen.details["learning"][0].step == 51  # the resume file after 50
    assert banks.numbers(bank["t"]) == banks.numbers(whole["t"])
    assert not [p for p in tmp_path.iterdir() if p != path]
    with pytest.raises(UsageError, match="another run"):
        bank.add("u", small.tuned(base, seed=5), flex(base, **options))
    path.write_bytes(b"nonsense")
    for wrong, says in ((path, "no resume file"), (tmp_path, "cannot be read"),
                        (tmp_path / "none" / "run", "no folder")):  # fmt: skip
        with pytest.raises(UsageError, match=says):
            bank.add("u", small.tuned(base), flex(base, steps=70, checkpoint=wrong))

    def refuse(*_arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(StorageError, match="cannot write the resume file"):
        bank.add("u", small.tuned(base), flex(base, steps=30, checkpoint=tmp_path / "new"))


def test_units_that_forward_does_not_use_are_kept_as_by_tswitch(base):
    bank = small.bank(base)
    bank.add("t", small.tuned(base), flex(base))
    kept = bank["t"]["unused"].to_dense()
    delta = small.tuned(base)["unused"].numpy()
    assert 0 < np.count_nonzero(kept) < kept.size
    assert len(np.unique(np.abs(kept[kept != 0]))) == 1
    assert np.all(np.sign(kept[kept != 0]) == np.sign(delta[kept != 0]))


def test_a_head_that_the_base_lacks_is_kept_whole_and_used(base):
    class Headed(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = small.model()
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.encoder(x))

    torch.manual_seed(7)
    model = Headed()
    with torch.no_grad():
        model.head.weight.zero_()  # the fine-tune's head must be used, or no gradient would flow
    head = {"head.weight": torch.randn(3, 4), "head.bias": torch.randn(3)}
    bank = small.bank(base)
    tuned = small.tuned(base) | head
    task = bank.add("t", tuned, flex(model, steps=30))
    assert set(task.extras) == set(head)
    assert task["0.weight"].to_dense().any()
    assert not model.head.weight.any()
    with pytest.raises(tvbank.errors.UnitMismatchError, match=r"head\.weight"):
        bank.add("u", tuned | {"head.weight": torch.randn(5, 4)}, flex(model, steps=30))


@pytest.mark.parametrize("lent", [False, True])
@pytest.mark.parametrize("objective", ["paper", "bytes"])
@pytest.mark.parametrize("moved", [False, True])
def test_batch_normalisation_whether_or_not_its_statistics_changed(
    moved, objective, lent, monkeypatch
):
    if lent:
        monkeypatch.setattr("tvbank.flexswitch._flexswitch.LENT", 0)
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 4))
    fine = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in fine.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
        if moved:
            fine[1].running_mean += 0.5
    task = small.bank(model).add(
        "t", fine, tvbank.FlexSwitch(model, small.inputs(), steps=3, batch=8, objective=objective)
    )
    assert set(task.extras) == ({"1.running_mean"} if moved else set())
    assert task["0.weight"].to_dense().any()
    assert task["3.weight"].to_dense().any()


def test_half_precision_units_and_odd_shapes():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(1.0))
            self.one = nn.Parameter(torch.ones(1))
            self.none = nn.Parameter(torch.zeros(0, 3))
            self.same = nn.Parameter(torch.zeros(5))
            self.positive = nn.Parameter(torch.zeros(6, 3))
            self.linear = nn.Linear(8, 6).to(torch.bfloat16)

        def forward(self, x):
            hidden = self.linear(x.to(torch.bfloat16)).float() * self.scale * self.one
            return hidden @ self.positive + self.same.sum()

    torch.manual_seed(0)
    base = Odd()
    tuned = {name: t.clone() for name, t in base.state_dict().items()}
    tuned["scale"] += 0.5
    tuned["one"] -= 0.25
    tuned["positive"] += torch.rand(6, 3)
    tuned["linear.weight"] += torch.randn(6, 8).to(torch.bfloat16) * 0.2
    bank = tvbank.create(MemoryStorage(), base=base.state_dict(), chunk_length=16)
    task = bank.add("t", tuned, flex(base, steps=60, lam=20.0))
    assert not task["same"].to_dense().any()
    assert (task["positive"].to_dense() >= 0).all()
    assert task["positive"].to_dense().any()
    assert task["scale"].to_dense() >= 0
    assert task["one"].to_dense() <= 0


def test_tied_weights_are_learned_once_and_used_everywhere():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(8, 8)
            self.second = nn.Linear(8, 8, bias=False)
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.second(torch.tanh(self.first(x)))

    torch.manual_seed(0)
    model = Tied()
    tuned = Tied()
    tuned.load_state_dict(model.state_dict())
    with torch.no_grad():
        tuned.first.weight += torch.randn(8, 8)
    bank = tvbank.create(MemoryStorage(), base=model)
    seen = Seen()
    # With λ this large only the loss counts, and it is small only if both places have the weights.
    options = {"lam": 1e4, "loss": "mse", "steps": 150}
    task = bank.add("t", tuned, flex(model, **options), progress=seen)
    seen = seen.details["learning"]
    assert set(task) == {"first.bias", "first.weight"}
    assert seen[-1].loss < 0.2 * seen[0].loss
    merged = tvbank.merge(bank, {"t": 1.0}, base=model)
    model.load_state_dict(merged)
    x = small.inputs()
    assert float((model(x) - tuned(x)).square().mean().detach()) < 0.3 * seen[0].loss
