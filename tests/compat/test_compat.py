"""Every later version reads the banks of earlier ones: see README.md."""

import json
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import tvbank
from tools.vectors.frozen import bits_of, decide, merges, read_bank, weights_in

FOLDERS = [Path(__file__).parent / "tvbank-0.1.0"]
BANKS = ("encodings", "models", "models.zip")


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.name)
def folder(request):
    return request.param


@pytest.fixture(scope="module")
def expected(folder):
    return json.loads((folder / "expected.json").read_text())


@pytest.fixture(scope="module")
def asked(folder):
    return np.load(folder / "questions.npy")


def alike(found, wanted):
    """Whether two JSON values agree, numbers that were computed to 1e-6."""
    if isinstance(wanted, float):
        return found == pytest.approx(wanted, abs=1e-6)
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(
            alike(found[key], wanted[key]) for key in wanted
        )
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(alike, found, wanted))
    return found == wanted


@pytest.mark.parametrize("name", BANKS)
def test_everything_is_read_as_it_was_written(folder, expected, asked, name):
    bank = tvbank.open(folder / name)
    assert bank.verify() == []
    found, wanted = read_bank(bank, asked), expected["banks"][name]
    routers, wanted_routers = found.pop("routers"), wanted.pop("routers")
    for task, parts in wanted["tasks"].items():
        assert found["tasks"][task] == parts, task
    assert json.loads(json.dumps(found)) == wanted
    assert alike(routers, wanted_routers)


def test_a_cascade_of_stored_routers_decides_as_before(folder, expected, asked):
    assert alike(decide(tvbank.open(folder / "models"), asked), expected["cascade"])


def test_exports_are_the_same_bytes(folder, expected, tmp_path):
    bank, base = tvbank.open(folder / "models"), folder / "base.safetensors"
    assert set(expected["exports"]) == set(bank)
    for name, wanted in expected["exports"].items():
        tvbank.export(bank, name, base=base, out=tmp_path / name)
        assert weights_in(tmp_path / name) == wanted, name


def test_merges_are_the_same_bits(folder, expected):
    bank, base = tvbank.open(folder / "models"), folder / "base.safetensors"
    assert set(expected["merges"]) == set(merges())
    for name, (weights, method) in merges().items():
        merged = tvbank.merge(bank, weights, base=base, method=method)
        assert {unit: bits_of(tensor) for unit, tensor in merged.items()} == expected["merges"][
            name
        ]


def model_of(base):
    """A module whose state dict has the base's names, with its tie."""
    from safetensors.torch import load_file

    tensors = load_file(base)
    model = nn.Module()
    for name, tensor in tensors.items():
        module = model
        *path, last = name.split(".")
        for part in path:
            if not hasattr(module, part):
                module.add_module(part, nn.Module())
            module = getattr(module, part)
        if tensor.is_floating_point():
            module._parameters[last] = nn.Parameter(tensor)  # modules have a method ``half``
        else:
            module.register_buffer(last, tensor)
    model.unembed = model.embed
    return model


def test_a_live_model_becomes_each_task(folder, expected):
    bank, model = tvbank.open(folder / "models"), model_of(folder / "base.safetensors")
    switch = tvbank.attach(model, bank)
    for name in ("plain", "exact", "budget", "same", "replaced", "plain"):
        switch.to(name)
        wanted = expected["exports"][name]
        for unit, tensor in model.state_dict().items():
            assert bits_of(tensor) == wanted[unit], (name, unit)


def test_what_is_frozen_covers_what_a_writer_chooses(expected):
    units = [
        unit
        for bank in expected["banks"].values()
        for task in bank["tasks"].values()
        for unit in task["units"].values()
    ]
    masks = {name for unit in units for name in unit["masks"]}
    values = {name for unit in units for name in unit["values"]}
    assert masks == {"full", "bitmap", "index", "holes", "runs", "gaps", "blocks"}
    assert values == {"sign", "table", "affine", "float16", "bfloat16", "raw", "rice"}
