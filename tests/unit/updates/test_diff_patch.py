"""``diff`` and ``patch``: what comes back is the new checkpoint, and nothing else is touched."""

import shutil

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from unit.updates.conftest import (
    PLACED,
    assert_same,
    load_folder,
    new_model,
    old_model,
    save_folder,
)

import tvbank
from tvbank.errors import (
    BankExistsError,
    BankNotFoundError,
    BaseMismatchError,
    FormatError,
    UnitMismatchError,
    UsageError,
)


@pytest.fixture
def update(models, tmp_path):
    tvbank.diff(
        tmp_path / "old.safetensors", tmp_path / "new.safetensors", out=tmp_path / "update.zip"
    )
    return tmp_path / "update.zip"


def test_a_file_comes_back_bit_for_bit(models, update, tmp_path):
    report = tvbank.patch(tmp_path / "old.safetensors", update, out=tmp_path / "out.safetensors")
    assert_same(load_file(tmp_path / "out.safetensors"), models[1])
    assert report.changed == 5
    assert report.proved
    assert not report.already
    with safe_open(tmp_path / "out.safetensors", "np") as file:
        assert file.metadata() == {"format": "pt", "by": "us"}


def test_an_update_is_a_bank_and_the_same_bytes_each_time(models, update, tmp_path):
    bank = tvbank.open(update)
    assert list(bank) == ["update"]
    assert bank.verify() == []
    files = [tmp_path / "old.safetensors", tmp_path / "new.safetensors"]
    again = tvbank.diff(*files, out=tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == update.read_bytes()
    assert set(again.whole) == {"embed.weight", "head", "steps"}
    with pytest.raises(BankExistsError, match="--force"):
        tvbank.diff(*files, out=tmp_path / "again.zip")
    tvbank.diff(*files, out=tmp_path / "again.zip", replace=True)


def test_modules_and_ties(tmp_path):
    old = torch.nn.ModuleDict({"a": torch.nn.Linear(4, 4), "b": torch.nn.Linear(4, 4)})
    old["b"].weight = old["a"].weight
    new = torch.nn.ModuleDict({"a": torch.nn.Linear(4, 4), "b": torch.nn.Linear(4, 4)})
    new["b"].weight = new["a"].weight
    tvbank.diff(old, new, out=tmp_path / "update.zip")
    state = {name: value.detach().numpy() for name, value in old.state_dict().items()}
    del state["a.weight"]  # a file lists one of two tied names
    save_file(state, tmp_path / "old.safetensors")
    tvbank.patch(tmp_path / "old.safetensors", tmp_path / "update.zip", in_place=True)
    found = load_file(tmp_path / "old.safetensors")
    expected = {name: value.detach().numpy() for name, value in new.state_dict().items()}
    del expected["a.weight"]
    assert_same(found, expected)


def test_in_place_once_and_twice(models, update, tmp_path):
    path = tmp_path / "old.safetensors"
    assert tvbank.patch(path, update, in_place=True).changed == 5
    assert_same(load_file(path), models[1])
    before = path.stat().st_mtime_ns
    assert tvbank.patch(path, update, in_place=True).already
    assert path.stat().st_mtime_ns == before
    with pytest.raises(BaseMismatchError, match="already applied"):
        tvbank.patch(path, update, out=tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.fixture
def sharded(tmp_path):
    """A folder, and an update of it that resizes, adds and leaves a shard alone."""
    old = old_model()
    new = new_model(old)
    folder = save_folder(tmp_path / "model", old, PLACED)
    tvbank.diff(folder, new, out=tmp_path / "update.zip")
    return folder, new


def test_a_folder_in_place(sharded, tmp_path):
    folder, new = sharded
    new = dict(new)
    tvbank.patch(folder, tmp_path / "update.zip", in_place=True)
    assert_same(load_folder(folder), new)
    names = {path.name for path in folder.iterdir()}
    assert "model-00003-of-00003.safetensors" not in names  # the head went there
    assert tvbank.patch(folder, tmp_path / "update.zip", in_place=True).already
    later = dict(new) | {"half": new["half"] + np.float16(1)}
    tvbank.diff(folder, later, out=tmp_path / "later.zip")
    tvbank.patch(folder, tmp_path / "later.zip", in_place=True)
    assert_same(load_folder(folder), later)
    still = {path.name for path in folder.glob("*.safetensors")} & names
    assert len(still) == 2  # shards in which nothing changed
    with safe_open(next(folder.glob("model-00002*")), "np") as file:
        assert file.metadata()["of"] == "model-00002-of-00003.safetensors"


def test_a_folder_to_a_folder_or_a_file(sharded, tmp_path):
    folder, new = sharded
    tvbank.patch(folder, tmp_path / "update.zip", out=tmp_path / "made")
    assert_same(load_folder(tmp_path / "made"), new)
    assert {path.name for path in (tmp_path / "made").iterdir()} == {
        path.name for path in folder.iterdir()
    }
    tvbank.patch(folder, tmp_path / "update.zip", out=tmp_path / "made.safetensors")
    assert_same(load_file(tmp_path / "made.safetensors"), new)
    with pytest.raises(BankExistsError, match="exists"):
        tvbank.patch(folder, tmp_path / "update.zip", out=tmp_path / "made")


def test_a_folder_of_one_file(models, update, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    shutil.copy(tmp_path / "old.safetensors", folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    tvbank.patch(folder, update, out=tmp_path / "made")
    assert_same(load_file(tmp_path / "made" / "model.safetensors"), models[1])
    assert (tmp_path / "made" / "config.json").read_text() == "{}"
    tvbank.patch(folder, update, in_place=True)
    assert_same(load_file(folder / "model.safetensors"), models[1])


def test_a_wrong_model_is_named_by_unit_and_left_alone(models, update, tmp_path):
    other = {name: array.copy() for name, array in models[0].items()}
    other["half"][0, 0] += 1
    path = tmp_path / "other.safetensors"
    save_file(other, path)
    before = path.read_bytes()
    for how in ({"in_place": True}, {"out": tmp_path / "out.safetensors"}):
        with pytest.raises(BaseMismatchError, match="'half'") as caught:
            tvbank.patch(path, update, **how)
        assert caught.value.units == ("half",)
    assert path.read_bytes() == before
    assert not (tmp_path / "out.safetensors").exists()
    renamed = {name.replace("layer", "block"): array for name, array in models[0].items()}
    with pytest.raises(BaseMismatchError, match=r"layer\.weight") as caught:
        tvbank.patch(renamed, update, out=tmp_path / "out.safetensors")
    assert "--missing" not in str(caught.value)  # which patch does not have
    with pytest.raises(BaseMismatchError, match="'another' besides"):
        tvbank.patch(models[0] | {"another": np.ones(2)}, update, out=tmp_path / "out.safetensors")
    other = {name: array.astype(np.float32) for name, array in models[0].items()}
    with pytest.raises(BaseMismatchError, match="element type"):
        tvbank.patch(other, update, out=tmp_path / "out.safetensors")


def test_a_new_checkpoint_that_lacks_tensors_is_refused(models, tmp_path):
    renamed = {name.replace("layer", "block"): array for name, array in models[1].items()}
    with pytest.raises(UnitMismatchError, match=r"layer\.weight"):
        tvbank.diff(models[0], renamed, out=tmp_path / "update.zip")
    assert not (tmp_path / "update.zip").exists()


def test_damaged_updates_change_nothing(models, update, tmp_path):
    path = tmp_path / "old.safetensors"
    before, data = path.read_bytes(), update.read_bytes()
    for cut in (0, 1, len(data) // 2, len(data) - 1):
        update.write_bytes(data[:cut])
        with pytest.raises((FormatError, BankNotFoundError), match="tvbank diff"):
            tvbank.patch(path, update, in_place=True)
    flipped = bytearray(data)
    at = data.index(b"/delta/c/0") + len(b"/delta/c/0") + 3
    flipped[at] ^= 1
    update.write_bytes(flipped)
    with pytest.raises(FormatError):
        tvbank.patch(path, update, in_place=True)
    assert path.read_bytes() == before


def test_an_update_that_leads_elsewhere_is_found_out(models, tmp_path):
    bank = tvbank.create(tmp_path / "bank", models[0])
    bank.add("update", models[1], tvbank.Exact(), {"new_state": "0" * 64}, replace_mismatched=True)
    path = tmp_path / "old.safetensors"
    before = path.read_bytes()
    with pytest.raises(FormatError, match="does not lead to the state"):
        tvbank.patch(path, bank, in_place=True)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.glob("*.tmp-*")] == []


def test_any_bank_of_one_exact_task_will_do(models, tmp_path):
    bank = tvbank.create(tmp_path / "bank", models[0])
    with pytest.raises(UsageError, match="has 0 tasks"):
        tvbank.patch(models[0], bank, out=tmp_path / "out.safetensors")
    same = new_model(models[0], resized=False)
    bank.add("mine", same, tvbank.Exact())
    report = tvbank.patch(models[0], bank, out=tmp_path / "out.safetensors")
    assert not report.proved
    assert_same(load_file(tmp_path / "out.safetensors"), same)
    bank.remove("mine")
    finite = {n: np.nan_to_num(a) if a.dtype.kind == "f" else a for n, a in same.items()}
    bank.add("lossy", finite, tvbank.TSwitch())
    with pytest.raises(UsageError, match="not exact"):
        tvbank.patch(models[0], bank, out=tmp_path / "out.safetensors")


@pytest.mark.parametrize("how", [{}, {"out": "x.safetensors", "in_place": True}])
def test_one_place_must_be_given(models, update, how):
    with pytest.raises(UsageError, match="in_place"):
        tvbank.patch(models[0], update, **how)


def test_what_cannot_be_replaced_is_refused(models, update, tmp_path):
    with pytest.raises(UsageError, match="in place"):
        tvbank.patch(models[0], update, in_place=True)
    torch.save({n: torch.zeros(1) for n in "ab"}, tmp_path / "old.pt")
    with pytest.raises(UsageError, match="in place"):
        tvbank.patch(tmp_path / "old.pt", update, in_place=True)
    with pytest.raises(UsageError, match="model itself"):
        tvbank.patch(
            tmp_path / "old.safetensors", update, out=tmp_path / "old.safetensors", replace=True
        )
    with pytest.raises(UsageError, match=r"\.zip"):
        tvbank.diff(models[0], models[1], out=tmp_path / "update.bank")


def decayed(rows):
    """A float32 embedding of which a few rows were trained; weight decay moved the others."""
    dice = np.random.default_rng(1)
    old = dice.normal(scale=0.05, size=(rows, 128)).astype(np.float32)
    new = old.copy()
    for _ in range(30):
        new *= np.float32(1 - 3 * 2.0**-24)
    trained = dice.random(rows) < 0.2
    new[trained] += dice.normal(scale=1e-3, size=(trained.sum(), 128)).astype(np.float32)
    return {"embed": old, "bias": np.zeros(3, np.float32)}, {
        "embed": new, "bias": np.ones(3, np.float32), "head": np.ones((2, 2), np.float32),
    }  # fmt: skip


def test_rows_that_only_decayed_are_a_stage_of_their_own(tmp_path, monkeypatch):
    old, new = decayed(2048)
    report = tvbank.diff(old, new, out=tmp_path / "update.zip")
    bank = tvbank.open(tmp_path / "update.zip")
    assert list(bank) == ["first-stage", "update"]
    assert bank["update"].parent == "first-stage"
    assert bank.verify(base=old) == []
    assert report.nonzeros == np.count_nonzero(old["embed"] != new["embed"]) + 3
    assert report.whole == ("head",)
    done = tvbank.patch(old, tmp_path / "update.zip", out=tmp_path / "out.safetensors")
    assert done.proved
    assert_same(load_file(tmp_path / "out.safetensors"), new)
    for wrong, why in ((new, "already applied"), ({**old, "embed": -old["embed"]}, "embed")):
        with pytest.raises(BaseMismatchError, match=why):
            tvbank.patch(wrong, tmp_path / "update.zip", out=tmp_path / "no.safetensors")
    monkeypatch.setattr("tvbank.updates._diff.first_stage", lambda *_: None)
    whole = tvbank.diff(old, new, out=tmp_path / "whole.zip")
    assert list(tvbank.open(tmp_path / "whole.zip")) == ["update"]
    assert report.bytes < 0.75 * whole.bytes
