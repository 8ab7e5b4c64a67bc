"""Tasks of products: read, merged, copied, packed, verified like any other."""

import json

import numpy as np
import pytest
import torch
from adapted import BERT, LLAMA, base_of, check_merged, saved
from peft import LoraConfig

import tvbank
from tvbank.bank.summary import inspect

PLAIN = LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj", "down_proj"])
Q = "model.layers.1.self_attn.q_proj.weight"
HEAD = "lm_head.weight"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bank with two adapters and a task of entries; and the folder of the first adapter."""
    place = tmp_path_factory.mktemp("products")
    base = base_of(LLAMA)
    bank = tvbank.create(place / "bank", base=base)
    folder, merged = saved(LLAMA, PLAIN, place)
    bank.add("cats", folder, metadata={"labels": ["tabby"]})
    other, tuned = saved(LLAMA, LoraConfig(r=2, target_modules=["q_proj"]), place / "2", seed=5)
    bank.add("dogs", other)
    bank.add("entries", tuned, tvbank.TSwitch(drop=0.5), base=base)
    return tvbank.open(place / "bank"), folder, merged


def in_numpy(product) -> np.ndarray:
    """The entries as the spec says, in numpy."""
    total = np.zeros((product.b.shape[0], product.a.shape[1]), np.float32)
    for k in range(product.rank):
        total += product.b[:, k, None].astype(np.float32) * product.a[k].astype(np.float32)
    total *= np.float32(product.scale)
    return total.T if product.transposed else total


def test_entries_are_those_of_the_spec_bit_by_bit(made):
    task = made[0]["cats"]
    assert list(task.products) == [n for n in task if "q_proj" in n or "down_proj" in n]
    everything, sparse = task.to_dense(), task.to_sparse()
    for name, unit in task.items():
        dense = unit.to_dense()
        expected = in_numpy(task.products[name]) if name in task.products else 0 * dense
        assert (dense.view(np.uint32) == expected.view(np.uint32)).all()
        assert (everything[name] == dense).all()
        positions, values = unit.to_sparse()
        assert (positions == np.flatnonzero(dense)).all()
        assert (values == dense.reshape(-1)[positions]).all()
        for one, other in zip(sparse[name], (positions, values), strict=True):
            assert (one == other).all()


def test_nothing_is_lost_of_the_factors(made):
    from safetensors.torch import load_file

    weights = load_file(made[1] / "adapter_model.safetensors")
    module = "base_model.model." + Q.removesuffix(".weight")
    product = made[0]["cats"].products[Q]
    assert (product.b == weights[f"{module}.lora_B.weight"].numpy()).all()
    assert (product.a == weights[f"{module}.lora_A.weight"].numpy()).all()
    assert product.scale == 5 / 3


def test_a_task_of_products_says_what_it_is(made):
    task = made[0]["cats"]
    assert task.compressor == {"name": "adapter", "kind": "lora"}
    assert task.metadata == {"labels": ["tabby"]}
    assert task.nonzeros == sum(task[name].size for name in task.products)
    by_unit = {summary.name: summary for summary in inspect(task)}
    assert by_unit[Q].masks == ("product",)
    assert by_unit[Q].values == ("float32, rank 3",)
    assert by_unit[Q].bytes == 4 * 3 * (32 + 32) + 4
    assert by_unit[HEAD].nonzeros == 0


@pytest.mark.parametrize(
    "method", [tvbank.TaskArithmetic(), tvbank.Ties(density=0.3), tvbank.Ties(across="unit"),
               tvbank.Dare(drop=0.4, seed=3)], ids=str,
)  # fmt: skip
def test_merging_takes_products_like_the_same_entries(made, method, tmp_path):
    """As a bank does that holds the very entries."""
    bank = made[0]
    state = tvbank.merge(bank, {"cats": 0.5, "entries": 0.7}, base=base_of(LLAMA), method=method)
    dense = tvbank.create(tmp_path / "dense", base=base_of(LLAMA))
    base = {name: weights.numpy() for name, weights in base_of(LLAMA).state_dict().items()}
    entries = bank["cats"].to_dense()

    class AsIs(tvbank.compress.Compressor):
        element = "float32"

        def describe(self):
            return {"name": "as-is"}

        def accepts(self, base, tuned):
            return True

        def prepare(self, unit, base, tuned, each=map):
            return lambda first, stop: entries[unit].reshape(-1)[first:stop]

    tuned = {name: weights + entries[name] for name, weights in base.items()}
    dense.add("cats", tuned, AsIs())
    tvbank.copy(bank.storage, dense.storage, ["entries"])
    expected = tvbank.merge(
        tvbank.open(dense.storage), {"cats": 0.5, "entries": 0.7}, base=base_of(LLAMA),
        method=method,
    )  # fmt: skip
    for name, weights in state.items():
        assert torch.equal(weights, expected[name]), name


def test_copied_packed_replaced_and_collected(made, tmp_path):
    bank, folder, merged = made
    tvbank.copy(bank.storage, tmp_path / "copy", ["cats"])
    copy = tvbank.open(tmp_path / "copy")
    assert copy.verify() == []
    assert copy["cats"].revision == bank["cats"].revision
    check_merged(copy, base_of(LLAMA), merged, task="cats")
    packed = tvbank.pack(bank.storage, tmp_path / "bank.zip").path
    assert (tvbank.open(packed)["cats"][Q].to_dense() == bank["cats"][Q].to_dense()).all()
    assert tvbank.open(packed).verify() == []
    copy.add("cats", folder, replace=True)
    copy.remove("cats")
    assert copy.gc(0).objects > 3
    assert not any("products" in found.key for found in copy.storage.list())


def test_what_zarr_rewrote_of_a_task_of_products_is_repaired(made, tmp_path):
    tvbank.copy(made[0].storage, tmp_path / "copy", ["cats"])
    bank = tvbank.open(tmp_path / "copy")
    document = bank["cats"].products.key.replace("c/0", "zarr.json")
    bank.storage.put(document, json.dumps(json.loads(bank.storage.get(document))).encode())
    assert {fault.key for fault in bank.verify()} == {document}
    tvbank.repair(bank.storage)
    assert bank.verify() == []
    bank.storage.delete("zarr.json")
    tvbank.repair(bank.storage)
    again = tvbank.open(tmp_path / "copy")
    assert again.verify() == []
    assert (again["cats"][Q].to_dense() == made[0]["cats"][Q].to_dense()).all()


def test_a_unit_takes_one_range_beside_the_revision_document(made):
    from banks import CountingStorage

    counting = CountingStorage(made[0].storage)
    bank = tvbank.open(counting)
    counting.reset()
    unit = bank["cats"][Q]
    unit.to_dense()
    assert sum(counting.calls.values()) == 2
    assert counting.bytes < 4 * 3 * 64 + 4 + bank["cats"].document.objects.__len__() * 2**13


def test_compressed_if_a_compressor_is_given(made, tmp_path):
    bank, (_, folder, merged) = tvbank.create(tmp_path / "b", base=base_of(LLAMA)), made
    bank.add("exact", folder, tvbank.Exact())
    check_merged(bank, base_of(LLAMA), merged, task="exact")
    sparse = bank.add("sparse", folder, tvbank.TSwitch(drop=0.9))
    assert not sparse.products
    assert 0 < sparse.nonzeros < 0.2 * bank.layout.parameters
    small = bank.add("small", folder, tvbank.Budget("1 bits/param"))
    assert small.bits_per_parameter <= 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rank", [8, 16])
def test_at_most_a_twentieth_more_than_the_file(rank, dtype, tmp_path):
    config = LoraConfig(r=rank, target_modules=["query", "value", "dense"])
    folder, _ = saved(BERT, config, tmp_path, dtype)
    bank = tvbank.create(tmp_path / "bank", base=base_of(BERT, dtype))
    document = len(str((folder / "adapter_config.json").read_text()))
    stored = bank.add("t", folder).stored_bytes
    file = (folder / "adapter_model.safetensors").stat().st_size
    assert stored <= 1.05 * file + document
