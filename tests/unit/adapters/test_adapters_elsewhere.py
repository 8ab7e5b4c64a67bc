"""Adapter tasks where other tasks stand: in recipes, under AutoSwitch, in fused live tensors."""

import copy
import json

import families
import peft
import torch
import transformers as tf
from adapted import LLAMA, base_of, model_of, saved, strangers_warnings
from peft import LoraConfig
from safetensors.torch import load_file, save_file

import tvbank
from tvbank.merging import merge_recipe


def test_a_recipe_of_adapters_is_that_of_their_exported_weights(tmp_path):
    base = base_of(LLAMA)
    bank = tvbank.create(tmp_path / "bank", base=base)
    for number, name in enumerate(("cats", "dogs")):
        config = LoraConfig(r=2, target_modules=["q_proj", "up_proj"])
        folder, _ = saved(LLAMA, config, tmp_path / name, seed=number)
        bank.add(name, folder)
        bank.add(f"{name}-whole", bank.state_dict(name, base), tvbank.Exact(), base=base)
    for method, options in (("linear", {}), ("task_arithmetic", {}), ("ties", {"density": 0.5})):
        made = []
        for suffix in ("", "-whole"):
            models = [
                {"model": name + suffix, "parameters": {"weight": 0.5, **options}}
                for name in ("cats", "dogs")
            ]
            recipe = {"merge_method": method, "models": models}
            recipe |= {} if method == "linear" else {"base_model": "base"}
            made.append(merge_recipe(bank, recipe, base=base))
        one, other = made
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one), method


def test_a_model_that_routes_itself_among_adapters(tmp_path):
    model = copy.deepcopy(model_of(LLAMA))
    bank = tvbank.create(tmp_path / "bank", base=model)
    for number, name in enumerate(("cats", "dogs")):
        folder, _ = saved(LLAMA, LoraConfig(r=2, target_modules=["v_proj"]), tmp_path / name,
                          seed=number)  # fmt: skip
        bank.add(name, folder)
    examples = {"cats": torch.randint(0, 20, (8, 5)), "dogs": torch.randint(40, 60, (8, 5))}
    at = "model.layers.0.input_layernorm"
    found = {t: tvbank.routing.features(model, {"input_ids": x}, at=at)
             for t, x in examples.items()}  # fmt: skip
    bank.add_router("r", tvbank.Router.fit(found, at=at))
    expected = {}
    with torch.no_grad():
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        for task, x in examples.items():
            switch = tvbank.attach(model, bank)
            with switch(task):
                expected[task] = model(input_ids=x).logits
            switch.close()
        with tvbank.AutoSwitch(model, bank, "r", "top1") as auto:
            logits = auto(input_ids=torch.cat(list(examples.values()))).logits
            assert auto.last.counts() == {"cats": 8, "dogs": 8}
    assert torch.equal(logits, torch.cat(list(expected.values())))
    assert all(torch.equal(model.state_dict()[n], t) for n, t in before.items())


def test_products_in_a_fused_and_stacked_live_tensor(tmp_path):
    """The file's experts are matrices, the model's slices of two tensors."""
    model = families.make("qwen3_moe")
    model.save_pretrained(tmp_path / "base")
    bank = tvbank.create(tmp_path / "bank", base=tmp_path / "base")
    units = [u for u in bank.layout.units if ".experts.1." in u.name][:3]
    assert {u.name.split(".")[-2] for u in units} == {"gate_proj", "up_proj", "down_proj"}
    factors = {}
    for unit in units:
        module = "base_model.model." + unit.name.removesuffix(".weight")
        factors[f"{module}.lora_A.weight"] = torch.randn(2, unit.shape[1])
        factors[f"{module}.lora_B.weight"] = torch.randn(unit.shape[0], 2)
    (tmp_path / "adapter").mkdir()
    save_file(factors, tmp_path / "adapter" / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["gate_proj"]}
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    assert set(bank.add("t", tmp_path / "adapter").products) == {unit.name for unit in units}
    out = tvbank.export(bank, "t", out=f"{tmp_path / 'out'}/")
    expected = type(model).from_pretrained(out).state_dict()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with tvbank.attach(model, bank)("t"):
        state = model.state_dict()
        assert all(torch.equal(state[name], expected[name]) for name in expected)
        assert any(not torch.equal(state[name], before[name]) for name in before)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())


def test_a_resized_and_tied_embedding_that_an_adapter_saves_whole(tmp_path):
    """PEFT writes it twice, beside the one before; the trained one counts, and no other is kept."""
    torch.manual_seed(0)
    config = tf.LlamaConfig(**families.LM | {"tie_word_embeddings": True})
    base = tf.LlamaForCausalLM(config)
    base.save_pretrained(tmp_path / "base")
    rows = base.config.vocab_size + 6
    tuned = tf.LlamaForCausalLM.from_pretrained(tmp_path / "base")
    tuned.resize_token_embeddings(rows, mean_resizing=False)
    config = LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["embed_tokens"])
    with strangers_warnings():
        model = peft.get_peft_model(tuned, config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter += 0.1 * torch.randn_like(parameter)
        model.save_pretrained(tmp_path / "adapter")
        tokens = torch.arange(rows)[None]
        expected = model.merge_and_unload()(tokens).logits
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    written = load_file(file)
    names = [name for name in written if "embed_tokens" in name]
    assert any("original_module" in name for name in names)
    bank = tvbank.create(tmp_path / "bank", base=tmp_path / "base")
    task = bank.add("t", tmp_path / "adapter")
    assert not [name for name in task.extras if "original_module" in name]
    out = tvbank.export(bank, "t", out=f"{tmp_path / 'out'}/")
    loaded = type(base).from_pretrained(out)
    assert loaded.config.vocab_size == rows
    torch.testing.assert_close(loaded(tokens).logits, expected, rtol=0, atol=1e-5)
    plain = "base_model.model.model.embed_tokens.weight"
    for order in (1, -1):  # whatever else a file has under the plain name, wherever it stands
        wrong = dict(sorted((written | {plain: torch.zeros(rows, 4)}).items())[::order])
        save_file(wrong, file)
        bank.add(f"t{order}", tmp_path / "adapter")
        embedding = bank[f"t{order}"].extras["model.embed_tokens.weight"]
        assert (embedding == task.extras["model.embed_tokens.weight"]).all()
