"""No output replaces what it is made from, under any name; what killed writers left goes."""

import json
import os

import banks
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import tvbank
from tvbank.errors import UsageError
from tvbank.merging import export_merged
from tvbank.storage import open_storage

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
INDEX = "model.safetensors.index.json"
BASE = {"a": np.arange(64, dtype=np.float32), "b": np.ones(64, np.float32)}


@pytest.fixture
def base(tmp_path):
    """A base of two shards, and a bank of it; names of everything there is."""
    folder = tmp_path / "base"
    folder.mkdir()
    for name, shard in zip("ab", SHARDS, strict=True):
        save_file({name: BASE[name]}, folder / shard)
    index = {"weight_map": dict(zip("ab", SHARDS, strict=True))}
    (folder / INDEX).write_text(json.dumps(index))
    bank = tvbank.create(tmp_path / "bank", folder)
    bank.add("t", {name: array + 1 for name, array in BASE.items()}, tvbank.Exact())
    return folder


def files_in(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def linked(path, folder):
    (folder / "links").mkdir()
    link = folder / "links" / path.name
    link.symlink_to(path)
    return link


def through_a_folder(path, folder):
    (folder / "other").symlink_to(path.parent)
    return folder / "other" / path.name


def hard(path, folder):
    (folder / "hard").mkdir()
    os.link(path, folder / "hard" / path.name)
    return folder / "hard" / path.name


def roundabout(path, folder):
    return path.parent / ".." / path.parent.name / path.name


def itself(path, folder):
    return path


NAMES = [itself, linked, through_a_folder, hard, roundabout]


def writers(place):
    def export(out, base):
        tvbank.export(tvbank.open(place), "t", base=base, out=out)

    def merge(out, base):
        export_merged(tvbank.open(place), {"t": 1.0}, base=base, out=out)

    return [export, merge]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("file", [*SHARDS, INDEX])
def test_a_file_of_the_base(base, tmp_path, name, file):
    out = name(base / file, tmp_path)
    before = files_in(tmp_path)
    urls = [f"file://{base}", f"file://localhost{base}/{INDEX}", f"local://{base}/{INDEX}"]
    opened = tvbank.checkpoint.open_checkpoint(base)
    for write in writers(tmp_path / "bank"):
        for source in (None, base, str(base / INDEX), *urls, opened):
            with pytest.raises(UsageError, match="is the base itself, one of its files"):
                write(out, source)
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("name", ["one.safetensors", "one.bin"])
def test_a_base_of_one_file(tmp_path, name):
    import torch

    path = tmp_path / name
    if path.suffix == ".bin":
        torch.save({key: torch.from_numpy(array) for key, array in BASE.items()}, path)
    else:
        save_file(BASE, path)
    tvbank.create(tmp_path / "bank", path).add("t", BASE, tvbank.Exact())
    before = path.read_bytes()
    for write in writers(tmp_path / "bank"):
        with pytest.raises(UsageError, match="is the base itself: choose"):
            write(path, None)
    assert path.read_bytes() == before


def test_what_would_be_taken_for_the_base_from_then_on(base, tmp_path):
    for write in writers(tmp_path / "bank"):
        with pytest.raises(UsageError, match="would be taken for the base, which is named by its"):
            write(base / "model.safetensors", None)
    out = tvbank.export(tvbank.open(tmp_path / "bank"), "t", out=base / "t.safetensors")
    assert np.array_equal(load_file(out)["a"], BASE["a"] + 1)
    named = str(base / INDEX)
    tvbank.export(tvbank.open(tmp_path / "bank"), "t", base=named, out=base / "model.safetensors")


@pytest.mark.parametrize("name", NAMES)
def test_an_object_of_the_bank(base, tmp_path, name):
    for number, path in enumerate(sorted(files_in(tmp_path / "bank"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        out = name(path, folder)
        before = files_in(tmp_path)
        for write in writers(tmp_path / "bank"):
            with pytest.raises(UsageError, match=r"belongs to the bank .*/bank itself"):
                write(out, None)
        assert files_in(tmp_path) == before


def test_among_the_objects_of_a_bank(base, tmp_path):
    for write in writers(tmp_path / "bank"):
        for inside in ("tasks/new.safetensors", "base/x.safetensors", "routers", "tasks/t/x"):
            with pytest.raises(UsageError, match="belongs to the bank"):
                write(tmp_path / "bank" / inside, None)
        write(tmp_path / "bank" / "mine.safetensors", None)  # beside them is no harm
    assert tvbank.open(tmp_path / "bank").verify() == []


def test_what_a_link_of_the_bank_leads_to(base, tmp_path):
    """Caches of downloads are made of links: who replaces their files changes the bank."""
    shard = next((tmp_path / "bank").rglob("delta/c/0"))
    blob = tmp_path / "blob"
    shard.rename(blob)
    shard.symlink_to(blob)
    for write in writers(tmp_path / "bank"):
        with pytest.raises(UsageError, match="belongs to the bank"):
            write(blob, None)
    assert tvbank.open(tmp_path / "bank").verify() == []


def test_a_bank_in_a_zip_file(base, tmp_path):
    path = tmp_path / "bank.zip"
    tvbank.pack(tmp_path / "bank", path)
    before = path.read_bytes()
    (tmp_path / "link.zip").symlink_to(path)
    for place in (path, f"file://{path}", tmp_path / "link.zip"):
        for out in (path, tmp_path / "link.zip"):
            for write in writers(place):
                with pytest.raises(UsageError, match="belongs to the bank"):
                    write(out, base)
            with pytest.raises(UsageError, match="belongs to the bank"):
                tvbank.pack(place, out, [], replace=True)
    with pytest.raises(UsageError, match="belongs to the bank"):
        tvbank.pack(tmp_path / "bank", tmp_path / "bank" / "tasks" / "t.zip")
    assert path.read_bytes() == before
    assert banks.contents(open_storage(path))


def test_what_a_killed_writer_left_goes_when_the_same_is_written_again(base, tmp_path):
    bank = tvbank.open(tmp_path / "bank")
    for out, write in {
        "o.safetensors": lambda out: tvbank.export(bank, "t", out=out),
        "m.safetensors": lambda out: export_merged(bank, {"t": 0.5}, out=out),
        "p.zip": lambda out: tvbank.pack(bank.storage, out),
    }.items():
        folder = tmp_path / out.partition(".")[0]
        folder.mkdir()
        (folder / f"{out}.tmp-0123456789abcdef").write_bytes(bytes(1000))
        write(folder / out)
        assert [path.name for path in folder.iterdir()] == [out]
