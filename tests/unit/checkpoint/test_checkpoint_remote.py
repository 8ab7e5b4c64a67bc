"""Checkpoints under URLs: the same weights, only ranges of the file, and what is no checkpoint."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import servers
from safetensors.numpy import save_file

import tvbank
from tvbank.checkpoint import identify_checkpoint, open_checkpoint
from tvbank.errors import CheckpointError, UnitNotFoundError, UsageError
from tvbank.storage import open_storage

WEIGHTS = {
    "a.weight": np.arange(6000, dtype=np.float32).reshape(60, 100),
    "b.bias": np.arange(40, dtype=np.float16),
    "c.brain": np.arange(12, dtype=ml_dtypes.bfloat16).reshape(3, 4),
    "d.empty": np.zeros((0, 3), np.float32),
    "e.scale": np.array(2.5, np.float32),
    "f.wide": np.ones(20000, np.float32),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    (folder / "sharded").mkdir()
    save_file(WEIGHTS, folder / "all.safetensors")
    first = {name: WEIGHTS[name] for name in ("a.weight", "b.bias")}
    rest = {name: array for name, array in WEIGHTS.items() if name not in first}
    save_file(first, folder / "sharded" / "1.safetensors")
    save_file(rest, folder / "sharded" / "2.safetensors")
    placed = dict.fromkeys(first, "1.safetensors") | dict.fromkeys(rest, "2.safetensors")
    write_index(folder / "sharded", placed)
    return folder


def write_index(folder: Path, placed: dict[str, str]) -> None:
    text = json.dumps({"weight_map": placed})
    (folder / "model.safetensors.index.json").write_text(text)


@pytest.fixture
def server(folder):
    with servers.FileServer(folder) as server:
        yield server


@pytest.mark.parametrize(
    "place", ["all.safetensors", "sharded", "sharded/", "sharded/model.safetensors.index.json"]
)
def test_the_same_weights_as_from_a_file(server, place):
    with open_checkpoint(f"{server.url}/{place}") as checkpoint:
        assert set(checkpoint.tensors) == set(WEIGHTS)
        for name, array in WEIGHTS.items():
            read = checkpoint.read(name)
            assert (read.shape, read.dtype) == (array.shape, array.dtype)
            assert read.tobytes() == array.tobytes()


def test_only_what_is_asked_for_is_read(server):
    with open_checkpoint(f"{server.url}/all.safetensors") as checkpoint:
        opening = len(server.requests)
        assert opening == 2
        checkpoint.read("b.bias")
        assert [seen.bytes for seen in server.requests[opening:]] == [80]
        assert all(seen.range for seen in server.requests)


def test_neighbours_that_are_expected_come_together(server):
    with open_checkpoint(f"{server.url}/all.safetensors") as checkpoint:
        names = list(checkpoint.tensors)
        opening = len(server.requests)
        checkpoint.expect(names)
        assert len(server.requests) == opening + 1
        for name in names:
            assert checkpoint.read(name).tobytes() == WEIGHTS[name].tobytes()
        assert len(server.requests) == opening + 1
        checkpoint.read(names[0])  # again: it was let go
        assert len(server.requests) == opening + 2


def test_what_is_expected_of_shards(server):
    with open_checkpoint(f"{server.url}/sharded") as checkpoint:
        opening = len(server.requests)
        checkpoint.expect(["a.weight", "b.bias", "e.scale"])
        checkpoint.read("b.bias")
        checkpoint.read("e.scale")
        assert len(server.requests) == opening + 2
        with pytest.raises(UnitNotFoundError, match="nothing"):
            checkpoint.expect(["nothing"])


def test_a_long_header_takes_a_request_more(tmp_path):
    many = {f"unit.{'x' * 60}.{n:04d}": np.array([n], np.float32) for n in range(1000)}
    save_file(many, tmp_path / "m.safetensors")
    with servers.FileServer(tmp_path) as server:
        with open_checkpoint(f"{server.url}/m.safetensors") as checkpoint:
            assert len(checkpoint.tensors) == 1000
            last = max(many)
            assert checkpoint.read(last) == many[last]
        assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "truncated"),
        (b"version https://git-lfs", "Git LFS"),
        (b"PK\3\4" + bytes(100), "not a"),
        ((50).to_bytes(8, "little") + b"{" + bytes(60), "not a valid"),
        ((2**40).to_bytes(8, "little") + b"{" + bytes(60), "header of"),
        ((90).to_bytes(8, "little") + b"{" + bytes(60), "truncated"),
    ],
)
def test_what_is_no_sound_file_is_refused_as_on_a_disk(tmp_path, content, problem):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    open_storage("memory://bad").put("bad.safetensors", content)
    with pytest.raises(CheckpointError, match=problem):
        open_checkpoint("memory://bad/bad.safetensors")
    with pytest.raises(CheckpointError, match=problem):
        open_checkpoint(path)


@pytest.mark.parametrize("size", [2**62, 2**64])
def test_a_server_that_claims_a_length_that_no_disk_has(folder, monkeypatch, size):
    storage = open_storage("memory://liar")
    storage.put("m.safetensors", (folder / "all.safetensors").read_bytes())
    monkeypatch.setattr(type(storage), "identify", lambda self, key: (size, "tag"))
    with pytest.raises(CheckpointError, match=f"has {size} bytes, and no temporary file"):
        open_checkpoint("memory://liar/m.safetensors")


def test_a_file_cut_short_is_refused(folder, tmp_path):
    whole = (folder / "all.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-5])
    with servers.FileServer(tmp_path) as server:
        url = f"{server.url}/cut.safetensors"
        with pytest.raises(CheckpointError, match=f"{len(whole)} bytes, the file has") as caught:
            open_checkpoint(url)
        assert url in str(caught.value)


def test_a_file_that_becomes_shorter_is_noticed(tmp_path):
    save_file(WEIGHTS, tmp_path / "m.safetensors")
    with servers.FileServer(tmp_path) as server:
        checkpoint = open_checkpoint(f"{server.url}/m.safetensors")
        path = tmp_path / "m.safetensors"
        path.write_bytes(path.read_bytes()[:-8])
        with pytest.raises(CheckpointError, match="became shorter"):
            [checkpoint.read(name) for name in checkpoint.tensors]


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("none.safetensors", "no such object"),
        ("model.bin", "no safetensors file"),
        ("nowhere", "no model.safetensors and no model.safetensors.index.json"),
        ("none.safetensors.index.json", "no such object"),
    ],
)
def test_what_is_not_there(server, place, problem):
    for use in (open_checkpoint, identify_checkpoint):
        with pytest.raises(CheckpointError, match=problem):
            use(f"{server.url}/{place}")


@pytest.mark.parametrize(
    "url", ["https://me:secret@host/a.safetensors", "https://host/a.safetensors?token=secret"]
)
def test_credentials_in_a_url_are_refused(url):
    with pytest.raises(UsageError) as caught:
        open_checkpoint(url)
    assert "secret" not in str(caught.value)


def test_shards_outside_the_folder_are_refused(tmp_path):
    write_index(tmp_path, {"a": "../secret.safetensors"})
    with (
        servers.FileServer(tmp_path) as server,
        pytest.raises(CheckpointError, match="outside its folder"),
    ):
        open_checkpoint(server.url + "/model.safetensors.index.json")


def test_any_store_and_files_as_urls(folder):
    data = (folder / "all.safetensors").read_bytes()
    open_storage("memory://checkpoints").put("all.safetensors", data)
    path = folder / "all.safetensors"
    for url in ("memory://checkpoints/all.safetensors", path.as_uri()):
        with open_checkpoint(url) as checkpoint:
            assert checkpoint.read("f.wide").tobytes() == WEIGHTS["f.wide"].tobytes()
    assert identify_checkpoint(path.as_uri()) == identify_checkpoint(path)


@pytest.mark.parametrize("kind", ["file", "folder", "memory"])
def test_an_identity_changes_with_the_content(tmp_path, kind):
    def write(value: float) -> None:
        save_file({"a": np.full(3, value, np.float32)}, tmp_path / "1.safetensors")
        write_index(tmp_path, {"a": "1.safetensors"})
        for name in ("1.safetensors", "model.safetensors.index.json"):
            open_storage("memory://identity").put(name, (tmp_path / name).read_bytes())

    source = {
        "file": str(tmp_path / "1.safetensors"),
        "folder": tmp_path,
        "memory": "memory://identity/model.safetensors.index.json",
    }[kind]
    write(1)
    first = identify_checkpoint(source)
    assert first == identify_checkpoint(source)
    write(2)
    assert identify_checkpoint(source) != first


def test_a_bank_made_added_to_and_exported_from_urls(server, folder, tmp_path):
    base = f"{server.url}/all.safetensors"
    bank = tvbank.create(tmp_path / "bank", base, chunk_length=1024)
    bank.add("same", f"{server.url}/sharded", tvbank.Exact())
    out = tvbank.export(bank, "same", base=base, out=tmp_path / "out.safetensors")
    with open_checkpoint(out) as checkpoint:
        for name, array in WEIGHTS.items():
            assert checkpoint.read(name).tobytes() == array.tobytes()
    # A stranger's bank must not choose what is asked for: its base is not noted.
    with pytest.raises(UsageError, match="--base"):
        tvbank.open(tmp_path / "bank").add("more", folder / "all.safetensors")
