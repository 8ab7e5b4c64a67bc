"""Weights that have no deltas stay as in the base when tasks are merged: one warning names them."""

import warnings

import pytest
import torch
from safetensors.torch import load_file

import tvbank
from tvbank.merging import export_merged
from tvbank.storage import MemoryStorage

DTYPES = (torch.float64, torch.float8_e4m3fn, torch.complex64)


class Model(torch.nn.Module):
    def __init__(self, dtype):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.plain = torch.nn.Parameter(torch.randn(4, 4, generator=generator))
        wide = torch.randn(4, 4, generator=generator).to(dtype)
        self.wide = torch.nn.Parameter(wide, requires_grad=False)
        self.same = torch.nn.Parameter(wide.clone(), requires_grad=False)


def bank_of(model):
    base = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    bank = tvbank.create(MemoryStorage(), base)
    wide = torch.ones(4, 4).to(base["wide"].dtype)
    bank.add("both", base | {"plain": base["plain"] + 1, "wide": wide}, tvbank.Exact())
    bank.add("plain", base | {"plain": base["plain"] + 2}, tvbank.Exact())
    return bank, base


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_merge_names_them_once(tmp_path, dtype):
    bank, base = bank_of(Model(dtype))
    what = rf"leaves unit 'wide' \({str(dtype).removeprefix('torch.')}\) as in the base"
    with pytest.warns(UserWarning, match=what) as seen:
        merged = tvbank.merge(bank, {"both": 0.5, "plain": 0.5})
    assert len(seen) == 1
    assert torch.equal(merged["wide"].view(torch.uint8), base["wide"].view(torch.uint8))
    torch.testing.assert_close(merged["plain"], base["plain"] + 1.5)
    with pytest.warns(UserWarning, match=what):
        path = export_merged(bank, {"both": 1.0}, out=tmp_path / "out.safetensors")
    torch.testing.assert_close(load_file(path)["plain"], base["plain"] + 1)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_weighted_switch_names_them(dtype):
    model = Model(dtype)
    bank, base = bank_of(model)
    with tvbank.attach(model, bank)("plain") as switch:
        with pytest.warns(UserWarning, match="unit 'wide'"):
            switch.to({"both": 0.5, "plain": 0.5})
        assert torch.equal(model.wide.view(torch.uint8), base["wide"].view(torch.uint8))
        switch.to("both")  # one task alone brings its own
        assert torch.equal(model.wide.real.float(), torch.ones(4, 4))


def test_what_no_task_of_the_sum_changes_needs_no_word():
    bank, base = bank_of(Model(torch.float64))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        merged = tvbank.merge(bank, {"plain": 0.5, "both": 0.0})
    torch.testing.assert_close(merged["plain"], base["plain"] + 1)
