"""A live model with tasks of products: as exported, as merged, and back bit for bit."""

import copy
import re
from pathlib import Path

import pytest
import torch
from adapted import BERT, GPT2, LLAMA, adapted, base_of, model_of, saved, strangers_warnings
from peft import LoraConfig, PeftModel

import tvbank

LORA = LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj", "down_proj", "embed_tokens"])


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=str)
def made(request, tmp_path_factory):
    """A bank with two adapters and a task of entries, of a model in some element type."""
    place, dtype = tmp_path_factory.mktemp("switched"), request.param
    base = base_of(LLAMA, dtype)
    bank = tvbank.create(place / "bank", base=base)
    folder, tuned = saved(LLAMA, LORA, place, dtype)
    bank.add("cats", folder)
    other = saved(LLAMA, LoraConfig(r=2, target_modules=["q_proj"]), place / "2", dtype, seed=5)
    bank.add("dogs", other[0])
    bank.add("entries", tuned, tvbank.TSwitch(drop=0.5), base=base)
    bank.add("exact", tuned, tvbank.Exact(), base=base)
    return bank, dtype


def same(model, state):
    for name, weights in model.state_dict().items():
        assert torch.equal(weights, state[name]), name


STATES = [
    "cats", "entries", "dogs", {"cats": 0.5}, {"cats": 0.5, "entries": 0.7}, "exact",
    {"entries": 0.3, "dogs": 1.5, "cats": -0.2}, {"exact": 0.5, "cats": 0.5}, "cats",
]  # fmt: skip


def test_whatever_the_order_it_is_what_is_exported_or_merged(made):
    bank, dtype = made
    base = base_of(LLAMA, dtype)
    model, before = copy.deepcopy(base), copy.deepcopy(base.state_dict())
    switch = tvbank.attach(model, bank)
    for state in STATES:
        switch.to(state)
        if isinstance(state, str):
            same(model, bank.state_dict(state, base=base))
        else:
            same(model, tvbank.merge(bank, state, base=base))
    switch.off()
    same(model, before)
    switch.to("cats")
    switch.close()
    same(model, before)


def test_memory_of_other_strides(made):
    bank, dtype = made
    model = copy.deepcopy(base_of(LLAMA, dtype))
    layer = model.model.layers[0].self_attn.q_proj
    layer.weight = torch.nn.Parameter(layer.weight.detach().T.contiguous().T)
    assert not layer.weight.is_contiguous()
    with tvbank.attach(model, bank)({"cats": 1, "entries": 1}):
        same(model, tvbank.merge(bank, {"cats": 1, "entries": 1}, base=base_of(LLAMA, dtype)))
    same(model, base_of(LLAMA, dtype).state_dict())


def test_a_resident_task_takes_what_its_factors_take(made):
    bank, dtype = made
    model = copy.deepcopy(base_of(LLAMA, dtype))
    switch = tvbank.attach(model, bank)
    switch.prefetch("cats")
    factors = sum(product.nbytes for product in bank["cats"].products.values())
    assert factors <= switch.resident["cats"] < factors + 2**12
    switch.close()


@pytest.mark.parametrize(("name", "options"), [
    (GPT2, {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
    (BERT, {"target_modules": ["query"], "modules_to_save": ["classifier"]}),
])  # fmt: skip
def test_logits_are_those_of_the_adapted_model(name, options, tmp_path):
    config = LoraConfig(r=3, **options)
    folder, _ = saved(name, config, tmp_path)
    with strangers_warnings():
        peft = adapted(name, config)
    bank = tvbank.create(tmp_path / "bank", base=base_of(name))
    bank.add("t", folder)
    model = copy.deepcopy(model_of(name))
    tokens = torch.arange(8)[None] % 60
    with torch.no_grad(), tvbank.attach(model, bank)("t"):
        torch.testing.assert_close(model(tokens).logits, peft(tokens).logits, rtol=1e-4, atol=1e-5)


def test_a_base_folder_and_an_adapter_folder_are_four_lines_from_generating(tmp_path, monkeypatch):
    """The block of the README that begins with a model."""
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    (block,) = re.findall(r"^```py\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    assert len(block.splitlines()) == 4
    monkeypatch.chdir(tmp_path)
    base_of(LLAMA).save_pretrained("base")
    folder, _ = saved(LLAMA, LORA, tmp_path)
    assert folder == tmp_path / "adapter"
    tokens = {"input_ids": torch.tensor([[1, 2, 3]]), "max_new_tokens": 5, "do_sample": False}
    live, found = copy.deepcopy(base_of(LLAMA)), []
    live.generate = lambda **more: found.append(type(live).generate(live, **more))
    exec(block, {"tvbank": tvbank, "model": live, "tokens": tokens})
    with strangers_warnings():
        theirs = PeftModel.from_pretrained(copy.deepcopy(base_of(LLAMA)), folder)
        expected = theirs.generate(**tokens)
    assert torch.equal(found[0], expected)
