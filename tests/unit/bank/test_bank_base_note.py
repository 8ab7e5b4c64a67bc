"""What a bank notes of its base's place: a path of this machine, never anything else."""

import hashlib

import numpy as np
import pytest
import servers
from safetensors.numpy import save_file

import tvbank
from tvbank.bank.documents import encode_document
from tvbank.bank.making import BASE_LOCATION, _Location, recall_base
from tvbank.errors import UsageError

BASE = {"w": np.arange(20, dtype=np.float32)}
TUNED = {"w": BASE["w"] + 1}


def note(bank, path):
    """As a stranger may have written it."""
    digest = hashlib.sha256(path.encode()).hexdigest()
    bank.storage.put(BASE_LOCATION, encode_document(_Location(path, digest)))


@pytest.fixture
def bank(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = tvbank.create("bank", BASE)
    made.add("t", TUNED, tvbank.Exact())
    return tvbank.open("bank")


def uses(bank):
    yield lambda: bank.add("new", TUNED)
    yield lambda: tvbank.export(bank, "t", out="out.safetensors")
    yield lambda: tvbank.merge(bank, {"t": 1.0})
    yield lambda: tvbank.build({"bank": "bank", "tasks": {"x": {"checkpoint": "x"}}}, workers=1)


@pytest.mark.parametrize("place", ["{url}/base.safetensors", "{url}", "file://{folder}/base"])
def test_a_noted_url_is_never_opened_whatever_lies_in_the_current_folder(place, bank, tmp_path):
    with servers.FileServer(tmp_path) as server:
        url = place.format(url=server.url, folder=tmp_path)
        note(bank, url)
        file = tmp_path / url.replace("://", ":/")
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix:
            save_file(BASE, file)
        else:
            file.mkdir(exist_ok=True)
        for use in uses(bank):
            with pytest.raises(UsageError, match="does not say where"):
                use()
        assert server.requests == []


@pytest.mark.parametrize("place", ["base.safetensors", "./base.safetensors", "", "~/x", "s3://b/x"])
def test_a_relative_path_is_no_note(place, bank):
    save_file(BASE, "base.safetensors")
    note(bank, place)
    with pytest.raises(UsageError, match="does not say where"):
        recall_base(bank.storage)


def test_an_absolute_path_stays_one_however_it_is_spelt(bank, tmp_path):
    folder = tmp_path / "s3:" / "bucket"
    folder.mkdir(parents=True)
    save_file(BASE, folder / "base.safetensors")
    note(bank, f"{tmp_path}/s3://bucket/base.safetensors")
    assert recall_base(bank.storage) == str(folder / "base.safetensors")
    bank.add("new", TUNED)


def test_a_relative_path_and_a_link_are_noted_as_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_file(BASE, "real.safetensors")
    (tmp_path / "link.safetensors").symlink_to("real.safetensors")
    tvbank.create("bank", "link.safetensors")
    monkeypatch.chdir("/")
    bank = tvbank.open(tmp_path / "bank")
    assert recall_base(bank.storage) == str(tmp_path / "link.safetensors")
    bank.add("t", TUNED)
