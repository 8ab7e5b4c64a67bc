"""A tie across the shards of pickles, which each shard holds once."""

import json

import families
import numpy as np
import pytest
import torch

import tvbank
from tvbank.checkpoint import open_checkpoint
from tvbank.naming.prefixes import names_of_units

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def save(model, folder):
    """A model's weights in two pickles, of which each has one name of the tie."""
    folder.mkdir()
    model.config.save_pretrained(folder)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    parts = {"a.bin": {EMBEDDING: state.pop(EMBEDDING)}, "b.bin": state}
    for file, tensors in parts.items():
        torch.save(tensors, folder / file)
    placed = {name: file for file, tensors in parts.items() for name in tensors}
    index = {"metadata": {}, "weight_map": placed}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return folder


def test_it_is_one_unit(tmp_path):
    base = families.make("qwen2")
    tuned = families.tuned(base)
    bank = tvbank.create(tmp_path / "bank", save(base, tmp_path / "base"))
    assert [EMBEDDING, HEAD] in names_of_units(bank.layout).values()
    bank.add("exact", save(tuned, tmp_path / "tuned"), tvbank.Exact())
    bank.add("lossy", tuned, tvbank.TSwitch(drop=0.5))
    assert not bank["exact"].extras
    families.check_switch(families.make("qwen2"), bank, base, tuned)
    out = tvbank.export(bank, "exact", out=f"{tmp_path}/out/")
    families.assert_same(type(base).from_pretrained(out), families.bits(tuned))


@pytest.mark.parametrize("other", ["weights", "constant", "name"])
def test_what_is_no_tie_stays_apart(other, tmp_path):
    base = families.make("qwen2").state_dict()
    first = {EMBEDDING: base[EMBEDDING].clone()}
    second = {HEAD: base[EMBEDDING].clone()}
    if other == "weights":
        second[HEAD][0, 0] += 1
    elif other == "constant":
        first[EMBEDDING].zero_()
        second[HEAD].zero_()
    else:
        first, second = {"x.weight": first[EMBEDDING]}, {"y.weight": second[HEAD]}
    torch.save(first, tmp_path / "a.bin")
    torch.save(second, tmp_path / "b.bin")
    placed = dict.fromkeys(first, "a.bin") | dict.fromkeys(second, "b.bin")
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": placed}))
    with open_checkpoint(tmp_path) as checkpoint:
        assert not checkpoint.tied
        checkpoint.expect(placed)
        for name, tensor in (first | second).items():
            assert np.array_equal(checkpoint.read(name), tensor.numpy())
