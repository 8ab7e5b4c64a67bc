"""Fine-tunes that lack something, are tied otherwise, or are no fine-tunes at all."""

from collections import Counter

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import tvbank
from tvbank.checkpoint import Checkpoint, TensorSpec
from tvbank.errors import BaseMismatchError, UnitMismatchError
from tvbank.storage import MemoryStorage

RNG = np.random.default_rng(5)


def random(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def bank_of(base):
    return tvbank.create(MemoryStorage(), base)


@pytest.mark.parametrize(
    "dtype",
    ["float32", "float64", "complex64", "float8_e4m3fn", "float8_e5m2", "int64", "uint8", "bool"],
)
def test_a_missing_tensor_of_any_type_is_refused(dtype):
    kind = getattr(ml_dtypes, dtype, None) or np.dtype(dtype)
    base = {"a": random(4), "b": random(4).astype(kind)}
    with pytest.raises(UnitMismatchError, match=r"lacks unit 'b' of the base.*give a full"):
        bank_of(base).add("t", {"a": base["a"]})


@pytest.mark.parametrize(
    "name", ["bn.num_batches_tracked", "embeddings.position_ids", "rotary_emb.inv_freq"]
)
def test_constants_may_be_missing(tmp_path, name):
    constant = random(4) if "freq" in name else np.arange(4)
    base = {"a": random(4), name: constant}
    bank = bank_of(base)
    bank.add("t", {"a": base["a"] + 1}, tvbank.Exact())
    out = load_file(tvbank.export(bank, "t", base=base, out=tmp_path / "out.safetensors"))
    assert (out[name] == constant).all()
    assert (out["a"] == base["a"] + 1).all()
    assert bank.verify() == []


def test_the_causal_mask_of_a_file_may_be_missing():
    base = {"a": random(4), "h.0.attn.bias": np.tril(np.ones((1, 1, 4, 4), bool))}
    assert list(bank_of(base).add("t", {"a": base["a"]}).extras) == []


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        ("", "module.", "have 'module.' where"),
        ("", "_orig_mod.", "have '_orig_mod.' where"),
        ("", "model.", "begin with 'model.' and the base's do not"),
        ("bert.", "", "begin with 'bert.' and its do not"),
        ("bert.", "roberta.", "begin with 'roberta.' where the base's begin with 'bert.'"),
        ("", "base_model.model.", "begin with 'base_model.model.'"),
    ],
)
def test_another_prefix_is_found_and_named(ours, theirs, words):
    weights = {"l.0.w": random(3), "l.1.w": random(3)}
    base = {ours + name: array for name, array in weights.items()}
    other = {theirs + name: array for name, array in weights.items()}
    tuned = {theirs + name: array + 1 for name, array in weights.items()}
    bank = bank_of(base)
    for number, against in enumerate((base, other)):
        task = bank.add(str(number), tuned, tvbank.Exact(), base=against)
        assert words in task.remarks[0]
        state = bank.state_dict(str(number), base=against)
        assert all((state[ours + n].numpy() == a + 1).all() for n, a in weights.items())
    changed = {theirs + name: array + 1 for name, array in weights.items()}
    with pytest.raises(BaseMismatchError, match="other weights"):
        bank.add("t", tuned, base=changed)


def test_wrappers_within_a_name_are_found_and_adapters_are_named():
    base = {"l.0.w": random(3)}
    task = bank_of(base).add("t", {"l._fsdp_wrapped_module.0.w": random(3)})
    assert "_fsdp_wrapped_module" in task.remarks[0]
    with pytest.raises(UnitMismatchError, match="merge_and_unload"):
        bank_of(base).add("t", {"base_model.model.l.0.lora_A.weight": random(2, 3)})


class Tied(torch.nn.Module):
    def __init__(self, first="wte"):
        super().__init__()
        names = ["wte", "lm_head"] if first == "wte" else ["lm_head", "wte"]
        for name in names:
            self.add_module(name, torch.nn.Linear(8, 16, bias=False))
        self.lm_head.weight = self.wte.weight
        self.norm = torch.nn.LayerNorm(8)


@pytest.mark.parametrize("first", ["wte", "lm_head"])
def test_a_tie_that_the_base_does_not_list_is_that_tie(tmp_path, first):
    module = Tied(first)
    base = {n: t.clone() for n, t in module.state_dict().items() if n != "lm_head.weight"}
    bank = bank_of(base)
    live = Tied(first)
    live.load_state_dict(module.state_dict())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.01
    torch.save(module.state_dict(), tmp_path / "tuned.bin")
    listed = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    file = {name: tensor for name, tensor in listed.items() if name != "lm_head.weight"}
    sources = {"file": file, "bin": tmp_path / "tuned.bin", "module": module, "twice": listed}
    for name, source in sources.items():
        task = bank.add(name, source)
        assert list(task.extras) == []
        assert task.revision == bank["file"].revision
    switch = tvbank.attach(live, bank)
    switch.to("module")
    assert live.lm_head.weight is live.wte.weight


def test_a_further_tensor_with_a_units_weights_is_kept():
    base = {"wte.weight": random(4, 3)}
    tuned = base["wte.weight"] + 1
    task = bank_of(base).add("t", {"wte.weight": tuned, "probe.weight": tuned.copy()})
    assert list(task.extras) == ["probe.weight"]
    zeros = {"wte.weight": random(4, 3), "x.weight": np.zeros((2, 2), np.float32)}
    more = zeros | {"lm_head.weight": np.zeros((2, 2), np.float32)}
    assert list(bank_of(zeros).add("t", more).extras) == ["lm_head.weight"]


def test_a_pair_that_the_base_lists_twice_may_come_once(tmp_path):
    weights = random(5, 3)
    base = {"wte.weight": weights, "lm_head.weight": weights.copy(), "b": np.ones((2, 2))}
    bank = bank_of(base)
    assert bank.layout.tied == {}
    tuned = {"wte.weight": weights + 1, "b": base["b"]}
    bank.add("t", tuned, tvbank.Exact())
    out = load_file(tvbank.export(bank, "t", base=base, out=tmp_path / "out.safetensors"))
    assert (out["lm_head.weight"] == weights + 1).all()


def test_a_pair_that_the_base_has_apart_must_come_twice():
    base = {"wte.weight": random(5, 3), "lm_head.weight": random(5, 3)}
    with pytest.raises(UnitMismatchError, match="lm_head"):
        bank_of(base).add("t", {"wte.weight": base["wte.weight"]})


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int64"])
@pytest.mark.parametrize("replace_mismatched", [False, True])
def test_integers_in_place_of_floats_are_refused(dtype, replace_mismatched):
    base = {"w": random(8, 8), "d": random(8).astype(np.float64)}
    for name in base:
        mask = base | {name: (base[name] > 0).astype(dtype)}
        with pytest.raises(UnitMismatchError, match=f"has {dtype} where the base has floats"):
            bank_of(base).add("t", mask, replace_mismatched=replace_mismatched)


@pytest.mark.parametrize("compressor", [tvbank.TSwitch(), tvbank.Exact()])
def test_a_bare_difference_is_refused(compressor):
    base = {f"{n}.weight": random(32, 32) for n in range(4)} | {"norm": np.ones(32, np.float32)}
    delta = {n: 0.01 * random(*a.shape) for n, a in base.items()}
    with pytest.raises(UnitMismatchError, match=r"difference from the base.*give the sum"):
        bank_of(base).add("t", delta, compressor)
    others = {
        "of the same": {n: np.zeros_like(a) for n, a in base.items()},
        "decayed": {n: d - 0.05 * base[n] for n, d in delta.items()},
        "one decayed": delta | {"0.weight": -0.3 * base["0.weight"]},
        "of another type": {n: d.astype(np.float16) for n, d in delta.items()},
    }
    for other in others.values():
        with pytest.raises(UnitMismatchError, match="difference from the base"):
            bank_of(base).add("t", other, compressor)


def test_a_bare_difference_of_large_units_is_refused(monkeypatch):
    monkeypatch.setattr("tvbank.vector.task_vector._SAMPLE_BYTES", 100)
    base = {f"{n}.weight": random(32, 32) for n in range(4)}
    with pytest.raises(UnitMismatchError, match="difference from the base"):
        bank_of(base).add("t", {n: 0.01 * random(*a.shape) for n, a in base.items()})


def test_what_is_no_difference_is_not_taken_for_one():
    base = {f"{n}.weight": random(32, 32) for n in range(8)}
    tuned = {n: a + 0.3 * random(*a.shape) for n, a in base.items()}
    most = list(base)[:-1]
    bank = bank_of(base)
    bank.add("tuned", tuned)
    bank.add("halved", {n: 0.05 * a for n, a in base.items()})
    bank.add("pruned", tuned | {"0.weight": np.zeros((32, 32), np.float32)})
    bank.add("layers-pruned", tuned | {n: np.zeros((32, 32), np.float32) for n in most})
    bank.add("layers-anew", tuned | {n: 0.02 * random(32, 32) for n in most})
    bank.add("anew", {n: random(*a.shape) for n, a in base.items()})


@pytest.mark.parametrize("size", [1e-30, 1e30])
@pytest.mark.parametrize("shapes", [[(1,)], [(2, 2), (2,)], [(64, 64)]])
def test_small_models_and_models_of_small_or_large_weights_are_fine_tuned(shapes, size):
    base = {str(n): np.float32(size) * random(*shape) for n, shape in enumerate(shapes)}
    bank_of(base).add("t", {n: array * np.float32(1.1) for n, array in base.items()})
    zeros = {n: np.zeros_like(array) for n, array in base.items()}
    bank_of(zeros).add("t", base)
    bank_of(zeros).add("same", zeros)


def test_exact_says_when_it_keeps_much_whole(tmp_path):
    base = {"w": random(8, 8).astype(ml_dtypes.bfloat16), "b": random(8)}
    tuned = {"w": base["w"].astype(np.float32) + 0.01, "b": base["b"]}
    bank = bank_of(base)
    with pytest.warns(UserWarning, match="89% of the parameters are kept whole.*cast the fine"):
        bank.add("t", tuned, tvbank.Exact())
    bank.add("cast", tuned | {"w": tuned["w"].astype(ml_dtypes.bfloat16)}, tvbank.Exact())
    bank.add("lossy", tuned)


class Counting(Checkpoint):
    """Arrays, with how often each was read."""

    def __init__(self, arrays):
        self.arrays, self.reads = arrays, Counter()
        specs = {n: TensorSpec(n, a.dtype.name, a.shape) for n, a in arrays.items()}
        super().__init__("counted arrays", specs, {})

    def _read(self, spec):
        self.reads[spec.name] += 1
        return self.arrays[spec.name]

    def _close(self):
        pass


@pytest.mark.parametrize("compressor", [tvbank.TSwitch(), tvbank.Exact()])
def test_what_was_read_to_sort_tensors_is_not_read_again(compressor):
    weights = {f"{n}.weight": random(32, 32) for n in range(8)}
    vectors = {f"{n}.norm": 1 + random(32) ** 2 for n in range(8)}
    base = Counting(weights | vectors)
    tuned = Counting({n: a * np.float32(1.01) for n, a in base.arrays.items()})
    bank_of(base.arrays).add("t", tuned, compressor, base=base)
    assert set(base.reads.values()) == set(tuned.reads.values()) == {1}
    assert set(base.reads) == set(tuned.reads) == set(base.arrays)


def test_copies_of_units_are_looked_for_in_one_pass():
    base = {f"{n}.weight": random(8, 8) for n in range(6)}
    tuned = {n: a + 1 for n, a in base.items()}
    copies = {f"{n}.lm_head.weight": a for n, a in zip("abcdef", tuned.values(), strict=True)}
    others = {f"{n}.output.weight": random(8, 8) for n in "ab"}
    checkpoint = Counting(tuned | copies | others)
    task = bank_of(base).add("t", checkpoint, tvbank.TSwitch())
    assert list(task.extras) == [*others]
    assert max(checkpoint.reads.values()) == 2  # once for the copies, once to be stored
    assert all(checkpoint.reads[name] == 1 for name in copies)
