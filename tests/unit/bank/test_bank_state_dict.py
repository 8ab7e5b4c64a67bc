"""``bank.state_dict``: the weights of a task, as PyTorch takes them."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import tvbank
from tvbank.errors import BaseMismatchError, TaskNotFoundError, UsageError


class Classifier(torch.nn.Module):
    """An encoder with tied weights, a buffer and a head."""

    def __init__(self, classes=2):
        super().__init__()
        self.embed = torch.nn.Embedding(20, 6)
        self.norm = torch.nn.BatchNorm1d(6)
        self.back = torch.nn.Linear(6, 20, bias=False)
        self.back.weight = self.embed.weight
        self.head = torch.nn.Linear(6, classes)


def fine_tune(base, classes=3):
    torch.manual_seed(1)
    tuned = Classifier(classes)
    for name, tensor in base.state_dict().items():
        if not name.startswith("head") and tensor.is_floating_point():
            tuned.state_dict()[name].copy_(tensor + 0.01 * torch.randn_like(tensor))
    return tuned


@pytest.fixture
def base():
    torch.manual_seed(0)
    return Classifier()


def assert_same(state, wanted):
    assert list(state) == list(wanted)
    for name, tensor in wanted.items():
        assert state[name].dtype == tensor.dtype
        assert torch.equal(state[name], tensor), name


def test_an_exact_task_is_the_fine_tune_and_loads_into_a_model(tmp_path, base):
    tuned = fine_tune(base)
    bank = tvbank.create(tmp_path / "bank", base)
    bank.add("t", tuned, tvbank.Exact(), replace_mismatched=True)
    state = bank.state_dict("t")
    assert {name: tuple(state[name].shape) for name in ("head.weight", "head.bias")} == {
        "head.weight": (3, 6), "head.bias": (3,),
    }  # fmt: skip
    assert state["embed.weight"] is state["back.weight"]
    model = Classifier(3)
    model.load_state_dict(state)
    assert_same(model.state_dict(), tuned.state_dict())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("compressor", [tvbank.TSwitch(0.5), tvbank.Exact()])
def test_it_is_what_export_writes(tmp_path, base, dtype, compressor):
    tuned = fine_tune(base).to(dtype)
    bank = tvbank.create(tmp_path / "bank", base.to(dtype))
    bank.add("t", tuned, compressor, replace_mismatched=True)
    written = load_file(tvbank.export(bank, "t", out=tmp_path / "t.safetensors"))
    state = bank.state_dict("t")
    assert_same({name: state[name] for name in sorted(state)}, dict(sorted(written.items())))


def test_the_base_is_the_banks_or_given(tmp_path, base):
    save_file({"w": torch.ones(4, 4)}, tmp_path / "base.safetensors")
    bank = tvbank.create(tmp_path / "bank", tmp_path / "base.safetensors")
    bank.add("t", {"w": torch.full((4, 4), 2.0)}, tvbank.Exact())
    assert torch.equal(tvbank.open(tmp_path / "bank").state_dict("t")["w"], torch.full((4, 4), 2.0))
    given = {"w": torch.ones(4, 4)}
    state = bank.state_dict("t", given)
    state["w"].zero_()
    assert torch.equal(given["w"], torch.ones(4, 4))
    with pytest.raises(BaseMismatchError, match="'w'"):
        bank.state_dict("t", base={"w": torch.zeros(4, 4)})
    with pytest.raises(TaskNotFoundError, match="'u'"):
        bank.state_dict("u")
    (tmp_path / "base.safetensors").unlink()
    with pytest.raises(UsageError, match="base="):
        tvbank.open(tmp_path / "bank").state_dict("t")


def test_what_it_returns_can_be_written_to_without_changing_the_base(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    bank = tvbank.create(tmp_path / "bank", model)
    changed = before | {"0.weight": before["0.weight"] + 1}
    bank.add("t", changed, tvbank.Exact())
    for tensor in bank.state_dict("t").values():
        tensor.fill_(np.nan)
    assert_same(model.state_dict(), before)
