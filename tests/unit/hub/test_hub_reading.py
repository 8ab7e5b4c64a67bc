"""Banks and checkpoints in a repository of the hub: ranges of one commit, whatever is pushed."""

import pickle
import sys

import banks
import hub as hubs
import numpy as np
import pytest
import servers
from safetensors.numpy import save

import tvbank
from tvbank import errors
from tvbank.checkpoint import open_checkpoint
from tvbank.storage import hub_token, open_storage, parse_hub_url
from tvbank.storage.hub import HubStorage


def files_below(folder):
    return {f"{folder}/{key}": data for key, data in banks.small_objects().items()}


def test_a_bank_is_read_by_ranges_from_where_the_hub_sends_its_readers(hub):
    hub.add("org/repo", files_below("some/bank"))
    bank = tvbank.open("hf://org/repo/some/bank")
    assert banks.all_numbers(bank) == banks.all_numbers(banks.small_bank())
    assert bank.verify() == []
    commit = hub.repositories["org/repo"].branches["main"]
    revision, *rest = [request.path for request in hub.requests]
    assert revision == "/api/models/org/repo/revision/main"
    own = [path for path in rest if not path.startswith("/xet-bridge/")]
    assert own
    assert all(path.startswith(f"/org/repo/resolve/{commit}/some/bank/") for path in own)
    hub.forget()
    tvbank.open("hf://org/repo/some/bank")["exact"]["embedding"].to_sparse()
    elsewhere = [r for r in hub.requests if r.path.startswith("/xet-bridge/")]
    assert len(hub.requests) - len(elsewhere) <= 6
    assert all(request.range for request in elsewhere if "Signature" not in request.path)


def test_what_is_pushed_meanwhile_is_not_seen(hub):
    repository = hub.add("org/repo", files_below("bank"))
    bank = tvbank.open("hf://org/repo/bank")
    first = repository.branches["main"]
    repository.commit({"bank/zarr.json": b"another"})
    assert banks.all_numbers(bank) == banks.all_numbers(banks.small_bank())
    assert bank.storage.commit == first
    with pytest.raises(errors.FormatError):
        tvbank.open("hf://org/repo/bank")
    old = tvbank.open(f"hf://org/repo@{first}/bank")
    assert sorted(old) == ["exact", "lossy"]
    again = pickle.loads(pickle.dumps(bank))
    assert again.storage.commit == first
    assert banks.all_numbers(again) == banks.all_numbers(bank)


@pytest.mark.parametrize(
    ("written", "revision"),
    [("v1.0", "v1.0"), ("refs/pr/3", "refs/pr/3"), ("refs%2Fpr%2F3", "refs/pr/3")],
)
def test_revisions_are_branches_tags_and_pull_requests(hub, written, revision):
    repository = hub.add("org/repo", {"other": b""})
    repository.commit(files_below("bank"), revision)
    assert sorted(tvbank.open(f"hf://org/repo@{written}/bank")) == ["exact", "lossy"]


def test_a_token_opens_what_is_private_and_goes_to_the_hub_alone(hub, monkeypatch, tmp_path):
    hub.add("org/repo", files_below("bank"), private=True)
    with pytest.raises(errors.StorageError, match=r"HF_TOKEN"):
        tvbank.open("hf://org/repo/bank")
    monkeypatch.setenv("HF_TOKEN", hubs.TOKEN)
    bank = tvbank.open("hf://org/repo/bank")
    assert banks.all_numbers(bank) == banks.all_numbers(banks.small_bank())
    assert any(request.path.startswith("/xet-bridge/") for request in hub.requests)
    monkeypatch.delenv("HF_TOKEN")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "token").write_text(f"{hubs.TOKEN}\n")
    assert hub_token() == hubs.TOKEN
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # not installed
    assert hub_token() == hubs.TOKEN
    assert sorted(tvbank.open("hf://org/repo/bank")) == ["exact", "lossy"]
    (tmp_path / "home" / "token").unlink()
    assert hub_token() is None
    monkeypatch.setenv("HF_TOKEN", hubs.TOKEN)
    assert hub_token() == hubs.TOKEN


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("hf://org/none", "no such repository"),
        ("hf://org/repo@none", "no revision 'none'"),
        ("hf://org/repo/elsewhere", "is not a bank"),
        ("hf://repo", "names no repository"),
        ("hf://org/repo/../other", "names no repository"),
        ("hf://org/repo?token=secret", "query"),
        ("hf://user:secret@org/repo", "password"),
    ],
)
def test_what_is_not_there_is_said(hub, url, why):
    hub.add("org/repo", files_below("bank"))
    with pytest.raises(errors.TvbankError, match=why) as refused:
        tvbank.open(url)
    assert "secret" not in str(refused.value)


def test_nothing_is_written(hub):
    hub.add("org/repo", files_below("bank"))
    bank = tvbank.open("hf://org/repo/bank")
    for write in (
        lambda: bank.add("new", banks.fine_tune()),
        lambda: bank.remove("exact"),
        lambda: bank.gc(),
        lambda: tvbank.create("hf://org/repo/new", banks.base_model()),
        lambda: list(bank.storage.list()),
    ):
        with pytest.raises(errors.StorageError, match="tvbank push"):
            write()


def test_a_copy_comes_to_a_folder_and_a_zip_file_is_read(hub, tmp_path):
    tvbank.pack(banks.small_bank(tmp_path / "bank"), tmp_path / "bank.zip")
    packed = (tmp_path / "bank.zip").read_bytes()
    hub.add("org/repo", {**files_below("bank"), "bank.zip": packed})
    tvbank.copy("hf://org/repo/bank", tmp_path / "copy")
    expected = banks.all_numbers(banks.small_bank())
    assert banks.all_numbers(tvbank.open(tmp_path / "copy")) == expected
    assert banks.all_numbers(tvbank.open("hf://org/repo/bank.zip")) == expected


def test_a_base_on_the_hub(hub, tmp_path):
    rng = np.random.default_rng(0)
    base = {"a.weight": rng.standard_normal((40, 30), dtype=np.float32)}
    tuned = {"a.weight": base["a.weight"] + np.float32(0.01)}
    config = b'{"model_type": "llama"}'
    hub.add("org/model", {"model.safetensors": save(base), "config.json": config})
    with open_checkpoint("hf://org/model") as checkpoint:
        assert (checkpoint.read("a.weight") == base["a.weight"]).all()
    bank = tvbank.create(tmp_path / "bank", "hf://org/model/model.safetensors")
    bank.add("t", tuned, tvbank.Exact())
    out = tvbank.export(bank, "t", out=f"{tmp_path}/out/")
    assert 'base_model: "org/model"' in (out / "README.md").read_text()
    assert (out / "config.json").exists()


def test_an_endpoint_that_is_no_hub(hub, monkeypatch, tmp_path):
    hub.add("org/repo", files_below("bank"))
    monkeypatch.setenv("HF_ENDPOINT", "nonsense")
    with pytest.raises(errors.UsageError, match="HF_ENDPOINT"):
        tvbank.open("hf://org/repo/bank")
    with servers.FileServer(tmp_path) as other:
        (tmp_path / "api/models/org/repo/revision").mkdir(parents=True)
        (tmp_path / "api/models/org/repo/revision/main").write_text("<html>")
        monkeypatch.setenv("HF_ENDPOINT", other.url)
        with pytest.raises(errors.StorageError, match="not understood"):
            tvbank.open("hf://org/repo/bank")


def test_urls_name_repositories_and_folders():
    for url, expected in {
        "hf://org/repo": ("models", "org/repo", "main", ""),
        "hf://models/org/repo/a/b": ("models", "org/repo", "main", "a/b"),
        "hf://datasets/org/repo.x@dev/a": ("datasets", "org/repo.x", "dev", "a"),
        "HF://org/repo@refs/pr/7/a": ("models", "org/repo", "refs/pr/7", "a"),
        "hf://org/repo@my%2Fbranch%2B1": ("models", "org/repo", "my/branch+1", ""),
    }.items():
        found = parse_hub_url(url)
        assert (found.kind, found.name, found.revision, found.path) == expected
        assert parse_hub_url(found.url) == found
    assert isinstance(open_storage("hf://org/repo"), HubStorage)
