"""Live models that something has wrapped, and models that cannot be switched: each says why."""

import copy

import families
import peft
import pytest
import torch
import transformers as tf
from safetensors.torch import load_file, save_file
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import ConversionOps, Transpose, WeightConverter

import tvbank
from tvbank.errors import BaseMismatchError, CheckpointError, UnitMismatchError, UsageError


class Lightning(torch.nn.Module):
    """Holds a model as Lightning's modules do, and something of its own."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.metric = torch.nn.Linear(2, 2)


def peft_model(model):
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"])
    return peft.get_peft_model(model, config)


def compiled_parts(model):
    for name, part in list(model.named_modules()):
        if name.endswith("layers.0"):
            part.mlp = torch.compile(part.mlp)
    return model


WRAPPERS = {
    "lightning": Lightning,
    "compiled": lambda model: torch.compile(model),
    "compiled-parts": compiled_parts,
    "data-parallel": lambda model: torch.nn.DataParallel(model),
    "peft": peft_model,
    "peft-in-lightning": lambda model: Lightning(peft_model(model)),
}


@pytest.fixture(scope="module", params=["llama", "vit"])
def made(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    base = families.make(request.param)
    tuned = families.tuned(base)
    base.save_pretrained(folder / "base")
    tuned.save_pretrained(folder / "tuned")
    bank = tvbank.create(folder / "bank", folder / "base")
    bank.add("t", folder / "tuned", tvbank.Exact())
    return bank, base, tuned


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # when it is first compiled
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapped_model_is_switched(made, wrapper):
    bank, base, tuned = made
    inner = copy.deepcopy(base)
    held = dict(inner.named_parameters())
    switch = tvbank.attach(WRAPPERS[wrapper](inner), bank)
    assert switch.remarks
    with switch("t"):
        for name, parameter in tuned.named_parameters():
            assert torch.equal(held[name], parameter)
    for name, parameter in base.named_parameters():
        assert torch.equal(held[name], parameter)


def test_names_are_given_where_nothing_tells_them(made):
    bank, _, _ = made
    model = torch.nn.Module()
    names = {}
    for number, (name, tensor) in enumerate(load(bank).items()):
        model.register_parameter(f"p{number}", torch.nn.Parameter(tensor.clone()))
        names[name] = f"p{number}"
    with pytest.raises(BaseMismatchError, match="lacks"):
        tvbank.attach(model, bank)
    wanted = bank.state_dict("t")
    for given in (names, names.get):
        switch = tvbank.attach(model, bank, names=given)
        with switch("t"):
            assert all(torch.equal(getattr(model, names[n]), t) for n, t in wanted.items())
        switch.close()
    with pytest.raises(UsageError, match="is 'nowhere', which the model lacks"):
        tvbank.attach(model, bank, names=lambda name: "nowhere")
    with pytest.raises(UsageError, match="names must be a mapping"):
        tvbank.attach(model, bank, names=["p0"])


def load(bank):
    return tvbank.merge(bank, {})


def same(model, other):
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


class TurnedLlama(tf.LlamaForCausalLM):
    """A model whose files hold one matrix a layer the other way round."""


def test_a_transposed_tensor_is_written_through_its_view(tmp_path):
    register_checkpoint_conversion_mapping(
        "TurnedLlama",
        [WeightConverter("mlp.down_proj.weight", "mlp.down_proj.weight", [Transpose(0, 1)])],
        overwrite=True,
    )
    torch.manual_seed(0)
    base = TurnedLlama(tf.LlamaConfig(**families.LM)).eval()
    tuned = families.tuned(base)
    base.save_pretrained(tmp_path / "base")
    tuned.save_pretrained(tmp_path / "tuned")
    bank = tvbank.create(tmp_path / "bank", tmp_path / "base")
    name = "model.layers.0.mlp.down_proj.weight"
    assert bank.layout.by_name[name].shape == tuple(base.get_parameter(name).shape)[::-1]
    bank.add("t", tmp_path / "tuned", tvbank.Exact())
    bank.add("lossy", tmp_path / "tuned", tvbank.TSwitch(drop=0.5))
    live = copy.deepcopy(base)
    switch = tvbank.attach(live, bank)
    with switch("t"):
        assert all(
            torch.equal(a, b) for a, b in zip(live.parameters(), tuned.parameters(), strict=True)
        )
    with switch("lossy"):
        assert torch.equal(live.get_parameter(name).T, bank.state_dict("lossy")[name])
    switch.to({"t": 0.5, "lossy": 0.5})
    switch.close()
    assert same(live, base)


class DoubledLlama(tf.LlamaForCausalLM):
    """A model whose files hold half of a weight."""


class Double(ConversionOps):
    """Changes numbers, and has no way back."""

    def convert(self, input_dict, source_patterns, target_patterns, **kwargs):
        return {target_patterns[0]: next(iter(input_dict.values()))[0] * 2}


def test_a_tensor_that_is_changed_when_it_is_loaded_says_so(tmp_path):
    table = [WeightConverter("mlp.half.weight", "mlp.up_proj.weight", [Double()])]
    register_checkpoint_conversion_mapping("DoubledLlama", table, overwrite=True)
    base = DoubledLlama(tf.LlamaConfig(**families.LM)).eval()
    state = {n.replace("up_proj", "half"): t / 2 for n, t in base.state_dict().items()}
    bank = tvbank.create(tmp_path / "bank", state)
    with pytest.raises(
        BaseMismatchError, match=r"something else of 'model.*half.*\(Double\).*base=model"
    ):
        tvbank.attach(base, bank)
    other = tvbank.create(tmp_path / "other", base)
    other.add("t", families.tuned(base), tvbank.Exact())
    with tvbank.attach(base, other)("t"):
        assert not same(base, DoubledLlama(tf.LlamaConfig(**families.LM)))


def small():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)).eval()


def test_an_offloaded_model_says_so(tmp_path):
    from accelerate import cpu_offload

    model = small()
    bank = tvbank.create(tmp_path / "bank", model)
    cpu_offload(model, execution_device="cpu")
    with pytest.raises(CheckpointError, match=r"'0\.weight' is on the meta device.*remove_hook"):
        tvbank.attach(model, bank)
    with pytest.raises(CheckpointError, match="offloaded by accelerate"):
        bank.add("t", model)


def test_an_offloaded_model_of_transformers_says_so(made):
    bank, base, _ = made
    kind = type(base)
    with torch.device("meta"):
        empty = kind(base.config)
    with pytest.raises(CheckpointError, match="meta device"):
        tvbank.attach(empty, bank)
    with pytest.raises(CheckpointError, match="meta device"):
        bank.add("u", empty)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_frozen_module_says_so(tmp_path):
    model = small()
    bank = tvbank.create(tmp_path / "bank", model)
    frozen = torch.jit.freeze(torch.jit.script(model))
    with pytest.raises(BaseMismatchError, match="traced, scripted or frozen"):
        tvbank.attach(frozen, bank)
    with pytest.raises((CheckpointError, UnitMismatchError), match="traced, scripted or frozen"):
        bank.add("t", frozen)


def packed(folder, parts):
    """A folder whose linear layers have packed integers, and what quantisers keep beside them."""
    weights = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        if name.endswith("proj.weight"):
            kept = {part: torch.ones(2, dtype=torch.int32) for part in parts}
            weights |= {name.removesuffix("weight") + part: t for part, t in kept.items()}
        else:
            weights[name] = tensor
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def test_a_quantised_base_says_so(tmp_path):
    base = families.make("llama")
    for kind in ("gptq", "bnb"):
        base.save_pretrained(tmp_path / kind)
    packed(tmp_path / "gptq", ["qweight", "qzeros", "scales", "g_idx"])
    with pytest.raises(CheckpointError, match="quantised model"):
        tvbank.create(tmp_path / "bank", tmp_path / "gptq")
    packed(tmp_path / "bnb", ["weight", "weight.absmax", "weight.quant_map"])
    bank = tvbank.create(tmp_path / "bank", tmp_path / "bnb")
    with pytest.raises(UnitMismatchError, match=r"bank's base is quantised.*weight\.absmax"):
        bank.add("t", families.tuned(base))
    with pytest.raises(BaseMismatchError, match=r"bank's base is quantised|int32 .* in the base"):
        tvbank.attach(base, bank)


def test_an_index_that_names_missing_shards(tmp_path):
    base = families.make("llama")
    base.save_pretrained(tmp_path / "base", max_shard_size="8KB")
    shards = sorted((tmp_path / "base").glob("*.safetensors"))
    assert len(shards) > 1
    shards[0].unlink()
    with pytest.raises(CheckpointError, match=f"shard '{shards[0].name}'.*is missing"):
        tvbank.create(tmp_path / "bank", tmp_path / "base")
