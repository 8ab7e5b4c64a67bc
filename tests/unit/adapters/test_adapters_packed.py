"""LoRA under a size: products whose factors are packed, read like all others, and written out."""

import copy
import sys

import numpy as np
import pytest
import torch
from adapted import BERT, CONV, GPT2, LLAMA, base_of, model_of, saved, strangers_warnings
from peft import LoraConfig, PeftModel

import tvbank
from tvbank.cli import main
from tvbank.compress.budget.factors import Components, share_bytes
from tvbank.errors import UsageError

PLAIN = LoraConfig(r=8, lora_alpha=5, target_modules=["q_proj", "down_proj"])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bank with an adapter as it is and half its size; and the adapter's folder."""
    place = tmp_path_factory.mktemp("packed")
    bank = tvbank.create(place / "bank", base=base_of(LLAMA))
    folder, _ = saved(LLAMA, PLAIN, place, torch.float32)
    bank.add("whole", folder)
    bank.add("half", folder, tvbank.Budget("50 % of the adapter"))
    return tvbank.open(place / "bank"), folder


def relative_error(whole, near):
    """Of the squares of all that an adapter changes, the share that is lost."""
    lost = sum(float(((whole[name] - near[name]) ** 2).sum()) for name in whole)
    return lost / sum(float((each**2).sum()) for each in whole.values())


def size_of_tensors(folder):
    from safetensors.torch import load_file

    weights = load_file(folder / "adapter_model.safetensors").values()
    return sum(each.numel() * each.element_size() for each in weights)


def test_it_stays_products_within_the_size(made):
    bank, folder = made
    half, whole = bank["half"], bank["whole"]
    limit = size_of_tensors(folder) / 2
    assert 0.9 * limit < half.stored_bytes <= limit
    assert list(half.products) == list(whole.products)
    assert {half.products.record(unit).dtype for unit in half.products} == {"packed"}
    assert relative_error(whole.to_dense(), half.to_dense()) < 0.01
    assert half.compressor == {"name": "budget", "budget": "50 % of the adapter"}
    assert half.nonzeros == sum(half[name].size for name in half.products)
    assert bank.verify() == []
    assert {*half.document.features} == {"products", "packed-products"}


def test_more_bytes_never_lose_more(made, tmp_path):
    bank = tvbank.create(tmp_path / "bank", base=base_of(LLAMA))
    whole, errors = made[0]["whole"].to_dense(), []
    for share in (35, 45, 60, 80):
        task = bank.add(f"{share}", made[1], tvbank.Budget(f"{share} % of the adapter"))
        errors.append(relative_error(whole, task.to_dense()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-6


def test_nothing_is_lost_where_everything_fits(made, tmp_path):
    bank, folder = tvbank.create(tmp_path / "bank", base=base_of(LLAMA)), made[1]
    task = bank.add("t", folder, tvbank.Budget("1 MB"))
    assert {task.products.record(unit).dtype for unit in task.products} == {"float32"}
    for name, product in made[0]["whole"].products.items():
        assert task.products[name].content == product.content


def test_the_live_model_is_what_is_read_and_comes_back(made):
    bank = made[0]
    model = copy.deepcopy(model_of(LLAMA))
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    state = bank.state_dict("half", base=base_of(LLAMA))
    switch = tvbank.attach(model, bank)
    switch.to("half")
    for name, weights in model.state_dict().items():
        assert torch.equal(weights, state[name]), name
    switch.off()
    for name, weights in model.state_dict().items():
        assert torch.equal(weights, before[name]), name


def test_merging_takes_them(made):
    bank = made[0]
    base = base_of(LLAMA)
    merged = tvbank.merge(bank, {"half": 0.5}, base=base)
    for name, entries in bank["half"].to_dense().items():
        expected = base.state_dict()[name] + 0.5 * torch.from_numpy(entries)
        assert torch.allclose(merged[name], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (LLAMA, {"target_modules": ["q_proj", "embed_tokens"]}),
        (GPT2, {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
        (BERT, {"target_modules": ["query"], "lora_bias": True, "modules_to_save": ["classifier"]}),
        (CONV, {"target_modules": ["first", "point"], "use_rslora": True}),
    ],
)
def test_written_out_it_is_what_the_bank_has(name, options, tmp_path):
    folder, _ = saved(name, LoraConfig(r=3, lora_alpha=5, **options), tmp_path)
    bank = tvbank.create(tmp_path / "bank", base=base_of(name))
    limit = bank.add("whole", folder).stored_bytes - 100
    bank.add("t", folder, tvbank.Budget(f"{limit} bytes"))
    assert any(product.packed for product in bank["t"].products.values())
    tvbank.export_adapter(bank, "t", out=tmp_path / "out")
    with strangers_warnings():
        model = PeftModel.from_pretrained(copy.deepcopy(model_of(name)), tmp_path / "out")
    state = bank.state_dict("t", base=base_of(name))
    for key, weights in model.merge_and_unload().state_dict().items():
        expected = state[key]
        assert torch.allclose(weights, expected, atol=1e-6), key


def test_factors_that_vanish_leave_no_product_and_peft_loads_the_rest(made, tmp_path):
    bank = tvbank.create(tmp_path / "bank", base=base_of(LLAMA))
    task = bank.add("t", made[1], tvbank.Budget("31 % of the adapter"))
    assert 0 < len(task.products) < len(made[0]["whole"].products)
    tvbank.export_adapter(bank, "t", out=tmp_path / "out")
    with strangers_warnings():
        model = PeftModel.from_pretrained(copy.deepcopy(model_of(LLAMA)), tmp_path / "out")
    assert len(model.peft_config["default"].target_modules) == len(task.products)


def test_the_command_takes_a_budget(made, tmp_path, monkeypatch):
    place = tmp_path / "bank"
    tvbank.create(place, base=base_of(LLAMA))
    command = ["tvbank", "add", place, "t", made[1], "--budget", "50 % of the adapter"]
    monkeypatch.setattr(sys, "argv", [*map(str, command)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert tvbank.open(place)["t"].stored_bytes == made[0]["half"].stored_bytes


def test_a_share_of_an_adapter_needs_one(made, tmp_path):
    bank = tvbank.create(tmp_path / "bank", base=base_of(LLAMA))
    tuned = {name: weights + 0.1 for name, weights in base_of(LLAMA).state_dict().items()}
    with pytest.raises(UsageError, match="of the adapter"):
        bank.add("t", tuned, tvbank.Budget("30 % of the adapter"), base=base_of(LLAMA))
    with pytest.raises(UsageError, match="smallest that this task"):
        bank.add("t", made[1], tvbank.Budget("3 % of the adapter"))


def test_components_are_orthogonal_and_the_same_product():
    random = np.random.default_rng(0)
    b, a = random.normal(size=(20, 6)), random.normal(size=(6, 9))
    found = Components.of(b, a, -0.5)
    assert np.allclose((found.u * found.values) @ found.v, 0.5 * b @ a)
    assert np.allclose(found.u.T @ found.u, np.eye(6))
    assert (np.diff(found.values) <= 0).all()


def test_zeros_and_a_scale_of_zero_take_nothing():
    zeros = Components.of(np.zeros((4, 2)), np.ones((2, 3)), 1.0)
    none = Components.of(np.ones((4, 2)), np.ones((2, 3)), 0.0)
    packed = share_bytes([zeros, none], lambda tried: len(tried), 10**6, map)
    assert packed == [None, None]


def test_a_tolerance_finds_a_size_of_the_adapter(made, tmp_path):
    from safetensors.torch import load_file

    bank = tvbank.create(tmp_path / "bank", base=base_of(LLAMA))
    base = {name: weight.detach() for name, weight in base_of(LLAMA).state_dict().items()}
    wanted = made[0].state_dict("whole", base=base_of(LLAMA))

    def score(path):
        state = load_file(path)
        lost = sum(float((wanted[name] - state[name]).square().sum()) for name in state)
        return 1 - lost / sum(float((wanted[n] - base[n]).square().sum()) for n in state)

    budget = tvbank.Budget(tolerance="5 points", evaluate=score)
    task = bank.add("t", made[1], budget, base=base_of(LLAMA))
    assert list(task.products)
    assert task.stored_bytes < made[0]["whole"].stored_bytes
    tvbank.export(bank, "t", base=base_of(LLAMA), out=tmp_path / "out.safetensors")
    assert 0.95 <= score(tmp_path / "out.safetensors") < 1
