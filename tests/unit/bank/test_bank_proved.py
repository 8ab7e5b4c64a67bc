"""Exact tasks record the digests of what they make; export, verify and patch compare them."""

import hashlib
import importlib

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import tvbank
from tvbank.cli import app
from tvbank.errors import CorruptionError, UsageError
from tvbank.storage import MemoryStorage


def states(count=4):
    """A training's checkpoints; every other step leaves one unit alone, the last one undoes one."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((64, 80), dtype=np.float32),
        "h": rng.standard_normal(300).astype(np.float16),
    }
    made = [weights]
    for number in range(1, count):
        new = {name: array.copy() for name, array in made[-1].items()}
        new["w"] += np.float32(1e-4) * rng.standard_normal((64, 80), dtype=np.float32)
        new["w"][0, :2] = np.nan, -0.0
        if number % 2:
            new["h"] += np.float16(1)
        made.append(new)
    made[-1]["w"] = weights["w"]
    return made


STATES = states()


def sha256(array):
    return hashlib.sha256(array.tobytes()).hexdigest()


def chain(storage):
    bank = tvbank.create(storage, STATES[0], chunk_length=1024)
    for number in range(1, len(STATES)):
        parent = f"s{number - 1}" if number > 1 else None
        bank.add(f"s{number}", STATES[number], tvbank.Exact(), base=STATES[0], parent=parent)
    return bank


@pytest.fixture
def wrong(monkeypatch):
    """Banks whose tasks record digests of other weights."""
    writer = importlib.import_module("tvbank.bank.writer")
    recorded = writer.recorded_state

    def others(*given):
        return dict.fromkeys(recorded(*given) or {}, "0" * 64)

    monkeypatch.setattr(writer, "recorded_state", others)


def test_every_unit_that_changes_is_recorded_as_it_is_after_the_chain():
    bank = chain(MemoryStorage())
    for number in range(1, len(STATES)):
        changed = {
            name: sha256(array) for name, array in STATES[number].items()
            if array.tobytes() != STATES[number - 1][name].tobytes()
        }  # fmt: skip
        assert bank[f"s{number}"].document.state == changed
    assert bank.verify(base=STATES[0], prove=True) == []
    bank.add("lossy", STATES[1] | {"w": STATES[0]["w"] + 1}, tvbank.TSwitch(), base=STATES[0])
    assert bank["lossy"].document.state is None
    same = bank.add("same", STATES[0], tvbank.Exact(), base=STATES[0])
    assert same.document.state == {}


def test_folding_keeps_what_is_known(tmp_path):
    bank = chain(tmp_path / "bank")
    tvbank.copy(chain(MemoryStorage()).storage, tmp_path / "whole")
    assert tvbank.open(tmp_path / "whole").verify(base=STATES[0], prove=True) == []
    bank.remove("s2", fold=True)
    state = bank["s3"].document.state
    assert state == {name: sha256(STATES[3][name]) for name in state}
    bank.remove("s1", fold=True)
    assert bank["s3"].document.state == {"h": sha256(STATES[3]["h"])}  # w is the base's again
    assert bank.verify(base=STATES[0], prove=True) == []


def test_other_weights_are_refused_by_name_and_nothing_is_written(wrong, tmp_path):
    torch.save({n: torch.from_numpy(a) for n, a in STATES[0].items()}, tmp_path / "base.pt")
    bank = tvbank.create(tmp_path / "bank", tmp_path / "base.pt", chunk_length=1024)
    bank.add("t", STATES[1], tvbank.Exact())
    (tmp_path / "config.json").write_text("{}")
    out = tmp_path / "out.safetensors"
    for place in (out, f"{tmp_path / 'folder'}/"):
        with pytest.raises(CorruptionError, match="task 't', unit") as caught:
            tvbank.export(bank, "t", out=place)
        assert caught.value.reason == "state"
    with pytest.raises(CorruptionError, match="task 't'"):
        tvbank.patch(tmp_path / "base.pt", bank, out=out)
    assert not out.exists()
    assert not (tmp_path / "folder" / "model.safetensors").exists()
    assert bank.verify() == []
    assert bank.verify(base=tmp_path / "base.pt") == []
    assert [fault.reason for fault in bank.verify(prove=True)] == ["state", "state"]
    tvbank.export(bank, "t", out=out, prove=False)
    assert out.exists()


def test_the_command_line_proves(wrong, tmp_path):
    importlib.import_module("tvbank.cli.reading")
    importlib.import_module("tvbank.cli.weights")
    torch.save({n: torch.from_numpy(a) for n, a in STATES[0].items()}, tmp_path / "base.pt")
    bank = tvbank.create(tmp_path / "bank", tmp_path / "base.pt", chunk_length=1024)
    bank.add("t", STATES[1], tvbank.Exact())
    out = tmp_path / "out.safetensors"
    for words, status in (
        (["export", bank.location, "t", "-o", str(out), "--no-prove", "--force"], 0),
        (["verify", bank.location], 0),
        (["verify", bank.location, "--prove"], 1),
    ):
        run = CliRunner().invoke(app, words)
        assert run.exit_code == status, run.output
    assert "unit 'w'" in run.output


def test_proving_without_a_base_says_what_is_needed():
    with pytest.raises(UsageError, match="base"):
        tvbank.open(chain(MemoryStorage()).storage).verify(prove=True)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        for name, array in STATES[0].items():
            self.register_parameter(name, torch.nn.Parameter(torch.from_numpy(array.copy())))


def bits(net):
    return {name: t.detach().numpy().tobytes() for name, t in net.named_parameters()}


def test_a_switch_proves_on_request():
    bank, net = chain(MemoryStorage()), Net()
    bank.add("lossy", STATES[1] | {"w": STATES[0]["w"] + 1}, tvbank.TSwitch(), base=STATES[0])
    switch = tvbank.attach(net, bank)
    for number in (2, 3, 1):
        switch.to(f"s{number}", prove=True)
        assert bits(net) == {name: array.tobytes() for name, array in STATES[number].items()}
    for asked in ("lossy", {"s1": 0.5}, {}):
        with pytest.raises(UsageError, match="prove"):
            switch.to(asked, prove=True)
    assert switch.active == "s1"


def test_a_switch_goes_back_where_the_weights_are_others(wrong):
    bank, net = chain(MemoryStorage()), Net()
    before = bits(net)
    switch = tvbank.attach(net, bank)
    with pytest.raises(CorruptionError, match="task 's1', unit"):
        switch.to("s1", prove=True)
    assert (switch.active, bits(net)) == (None, before)
    switch.to("s1")
    assert bits(net) != before


def test_a_copy_folds_beside_the_base_and_its_frames_are_given_it_again(tmp_path):
    source = chain(MemoryStorage())
    assert source["s2"].needs_base
    with pytest.raises(UsageError, match="base"):
        tvbank.copy(source.storage, MemoryStorage(), ["s2"], fold=True)
    target = MemoryStorage()
    report = tvbank.copy(source.storage, target, ["s2"], fold=True, base=STATES[0])
    assert report.tasks == ("s2",)
    copied = tvbank.open(target)
    assert (copied["s2"].parent, copied["s2"].needs_base) == (None, True)
    assert copied["s2"].document.state == {n: sha256(STATES[2][n]) for n in STATES[2]}
    assert copied.verify(base=STATES[0], prove=True) == []
    again = tvbank.copy(source.storage, target, ["s2"], fold=True, base=STATES[0])
    assert again.present == ("s2",)
