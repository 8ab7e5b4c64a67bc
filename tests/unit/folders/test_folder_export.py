"""Folders that tasks are written to: they appear whole, beside nothing that is read for them."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import tvbank
from tvbank import errors
from tvbank._atomic_folder import folder_aside
from tvbank.checkpoint import borrow_checkpoint

CONFIG = {"model_type": "llama", "vocab_size": 6, "tie_word_embeddings": True}
NAMES = [f"layers.{number}.weight" for number in range(5)]


def weights(seed=0):
    rng = np.random.default_rng(seed)
    made = {name: rng.standard_normal((6, 8), dtype=np.float32) for name in NAMES}
    return {"model.embed_tokens.weight": rng.standard_normal((6, 8), dtype=np.float32), **made}


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "base"
    folder.mkdir()
    save_file(weights(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    for name in ("tokenizer.json", "chat_template.jinja", "LICENSE"):
        (folder / name).write_text(name)
    for name in ("README.md", "training_args.bin", "trainer_state.json", ".gitattributes",
                 "all_results.json"):  # fmt: skip
        (folder / name).write_text("not to be copied")
    return folder


@pytest.fixture
def bank(tmp_path, base):
    made = tvbank.create(tmp_path / "bank", base)
    made.add("cats", weights(1), tvbank.Exact())
    return made


def read(folder):
    with borrow_checkpoint(folder) as checkpoint:
        return {name: checkpoint.read(name).copy() for name in checkpoint.tensors}


def same(left, right):
    return left.keys() == right.keys() and all((left[n] == right[n]).all() for n in left)


def test_a_folder_has_the_weights_and_what_lies_beside_the_base(bank, base, tmp_path):
    out = tvbank.export(bank, "cats", out=f"{tmp_path}/out/")
    assert out == tmp_path / "out"
    names = {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", "LICENSE",
             "README.md"}  # fmt: skip
    assert set(os.listdir(out)) == names
    assert same(read(out), weights(1))
    assert json.loads((out / "config.json").read_text()) == CONFIG
    assert (out / "tokenizer.json").read_text() == "tokenizer.json"
    assert 'base_model: "base"\nbase_model_relation: "finetune"' in (out / "README.md").read_text()


def test_shards_have_an_index_and_no_more_bytes_than_asked_for(bank, tmp_path):
    done = []
    out = tvbank.export(bank, "cats", out=f"{tmp_path}/out/", max_shard_size="400 B",
                        progress=lambda *seen: done.append(seen))  # fmt: skip
    index = json.loads((out / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_size": 6 * 192}
    files = sorted(set(index["weight_map"].values()))
    assert files == [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    for file in files:
        tensors = load_file(out / file)
        assert {index["weight_map"][name] for name in tensors} == {file}
        assert sum(tensor.nbytes for tensor in tensors.values()) <= 400
    assert not (out / "model.safetensors").exists()
    assert same(read(out), weights(1))
    assert done[-1] == (6 * 192, 6 * 192)
    alone = tvbank.export(bank, "cats", out=f"{tmp_path}/alone/", max_shard_size=1)
    assert len(list(alone.glob("model-*"))) == 6
    assert same(read(alone), weights(1))


def test_a_folder_with_files_is_refused_unless_they_may_be_replaced(bank, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    assert tvbank.export(bank, "cats", out=out, max_shard_size=400) == out
    (out / "notes.txt").write_text("mine")
    before = {path: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(errors.UsageError, match="not empty"):
        tvbank.export(bank, "cats", out=out)
    assert before == {path: path.read_bytes() for path in out.iterdir()}
    tvbank.export(bank, "cats", out=out, overwrite=True)
    assert sorted(path.name for path in out.glob("*.safetensors*")) == ["model.safetensors"]
    assert (out / "notes.txt").read_text() == "mine"
    assert same(read(out), weights(1))


def test_the_base_the_bank_and_adapters_are_not_written_over(bank, base, tmp_path):
    linked = tmp_path / "linked"
    linked.symlink_to(base)
    upper = tmp_path
    for place, why in [
        (base, "base's own"),
        (linked, "base's own"),
        (upper, "base's own"),
        (tmp_path / "bank", "a bank"),
        (tmp_path / "bank" / "tasks", "the bank"),
    ]:
        with pytest.raises(errors.UsageError, match=why):
            tvbank.export(bank, "cats", out=f"{place}/", overwrite=True)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    with pytest.raises(errors.UsageError, match="an adapter"):
        tvbank.export(bank, "cats", out=adapter, overwrite=True)
    with pytest.raises(errors.UsageError, match="is a file"):
        tvbank.export(bank, "cats", out=f"{base / 'config.json'}/")
    with pytest.raises(errors.UsageError, match="end the output with a slash"):
        tvbank.export(bank, "cats", out=tmp_path / "file.safetensors", files=base)
    with pytest.raises(errors.StorageError, match="create the folder first"):
        tvbank.export(bank, "cats", out=f"{tmp_path}/no/such/")
    assert same(read(base / "model.safetensors"), weights())


def test_a_failure_leaves_nothing(bank, tmp_path, monkeypatch):
    other = {**weights(), NAMES[3]: np.ones((6, 8), np.float32)}
    for there in (False, True):
        out = tmp_path / "out"
        if there:
            out.mkdir()
        with pytest.raises(errors.BaseMismatchError):
            tvbank.export(bank, "cats", base=other, out=f"{out}/", max_shard_size=200,
                          files=tmp_path / "base")  # fmt: skip
        assert out.exists() == there
        assert not list(tmp_path.glob("*.tmp-*"))
        assert not there or not list(out.iterdir())


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from tvbank._atomic_folder import folder_aside
    with folder_aside(Path(sys.argv[1]), "last", lambda name: False) as aside:
        (aside / "last").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
"""


EXPORT = """
    import os, signal, sys
    import tvbank
    _, bank, out, units = sys.argv
    def die(done, total):
        if done >= int(units) * 192:
            os.kill(os.getpid(), signal.SIGKILL)
    tvbank.export(bank, "cats", out=out + "/", max_shard_size=400, overwrite=True, progress=die)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
@pytest.mark.parametrize(("there", "units"), [(False, 3), (True, 6)])
def test_a_killed_export_leaves_nothing_that_looks_whole(bank, tmp_path, there, units):
    out = tmp_path / "out"
    if there:
        tvbank.export(bank, "cats", out=f"{out}/")
    before = {path: path.read_bytes() for path in out.glob("*")}
    command = [sys.executable, "-c", textwrap.dedent(EXPORT), str(tmp_path / "bank"), str(out)]
    died = subprocess.run([*command, str(units)], check=False)
    assert died.returncode == -signal.SIGKILL
    assert {path: path.read_bytes() for path in out.glob("*") if path.is_file()} == before
    assert same(read(tvbank.export(bank, "cats", out=f"{out}/", overwrite=True)), weights(1))
    assert not [*tmp_path.glob("*.tmp-*"), *out.glob(".tmp-*")]


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
@pytest.mark.parametrize("there", [False, True])
def test_what_a_killed_writer_left_is_removed_by_the_next(bank, tmp_path, there):
    out = tmp_path / "out"
    if there:
        out.mkdir()
    died = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), str(out)], check=False)
    assert died.returncode == -signal.SIGKILL
    left = [*tmp_path.glob("out.tmp-*"), *(out.glob(".tmp-*") if there else ())]
    assert len(left) == 1
    assert out.exists() == there
    tvbank.export(bank, "cats", out=f"{out}/")
    assert not left[0].exists()
    assert same(read(out), weights(1))


def test_the_folder_of_a_living_writer_stays(tmp_path):
    with folder_aside(tmp_path / "out", "last", lambda _name: False) as first:
        (first / "last").write_text("first")
        with folder_aside(tmp_path / "out", "last", lambda _name: False) as second:
            (second / "last").write_text("second")
            assert first.exists()
        (tmp_path / "out" / "last").unlink()
        (tmp_path / "out").rmdir()
    assert (tmp_path / "out" / "last").read_text() == "first"


def test_into_a_folder_the_file_that_makes_it_whole_comes_last(tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    for name in ("model.safetensors", "model-1", "other"):
        (out / name).write_text("old")
    seen, replace = [], os.replace

    def watched(source, target):
        assert not (out / "model.safetensors").exists()
        seen.append(Path(target).name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    with folder_aside(out, "model.safetensors", lambda name: name.startswith("model")) as aside:
        for name in ("a", "model.safetensors", "z"):
            (aside / name).write_text("new")
        (aside / "part").mkdir()
        (aside / "part" / "b").write_text("new")
    assert sorted(seen[:-1]) == ["a", "b", "z"]
    assert seen[-1] == "model.safetensors"
    assert sorted(os.listdir(out)) == ["a", "model.safetensors", "other", "part", "z"]


def test_the_commands(bank, base, tmp_path, monkeypatch, capsys):
    from tvbank.cli import main

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["tvbank", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr()

    place, out = tmp_path / "bank", tmp_path / "out"
    given = ("--max-shard-size", "400B", "--base-model", "org/base", "--json")
    status, shown = run("export", place, "cats", "-o", f"{out}/", *given)
    assert status == 0
    told = json.loads(shown.out)
    assert told["output"] == str(out)
    assert told["bytes"] == sum(path.stat().st_size for path in out.iterdir())
    assert (out / "model-00001-of-00003.safetensors").exists()
    assert 'base_model: "org/base"' in (out / "README.md").read_text()
    status, shown = run("export", place, "cats", "-o", out)
    assert status == 2
    assert "--force" in shown.err
    assert run("export", place, "cats", "-o", out, "--overwrite")[0] == 0
    assert same(read(out), weights(1))
    assert run("export", place, "cats", "-o", f"{out}/", "--max-shard-size", "much")[0] == 2
    assert run("merge", place, "cats=1", "-o", f"{tmp_path}/merged/", "--files", base)[0] == 0
    merged = read(tmp_path / "merged")
    assert all(np.allclose(merged[name], array) for name, array in weights(1).items())
    assert (tmp_path / "merged" / "tokenizer.json").exists()


def test_what_a_bank_says_of_a_configuration_is_bounded(bank, tmp_path):
    deep = {"a": 1}
    for _ in range(30):
        deep = {"a": deep}
    bank.add("deep", weights(1), tvbank.Exact(), {"config": deep["a"]["a"]})
    bank.add("odd", weights(1), tvbank.Exact(), {"config": "no object"})
    bank.add("code", weights(1), tvbank.Exact(), {"config": {"auto_map": {"A": "b"}, "c": 1}})
    tvbank.export(bank, "deep", out=f"{tmp_path}/deep/")
    for name, more in {"odd": {}, "code": {"c": 1}}.items():
        out = tvbank.export(bank, name, out=f"{tmp_path / name}/")
        assert json.loads((out / "config.json").read_text()) == {**CONFIG, **more}


def test_merges_say_so(bank, tmp_path):
    from tvbank.merging import export_merged

    bank.add("dogs", weights(2), tvbank.Exact())
    out = export_merged(bank, {"cats": 0.5, "dogs": 0.5}, out=f"{tmp_path}/out/")
    text = (out / "README.md").read_text()
    assert 'base_model_relation: "merge"' in text
    assert "| weight of cats | 0.5 |" in text
    merged = tvbank.merge(bank, {"cats": 0.5, "dogs": 0.5})
    assert same(read(out), {name: tensor.numpy() for name, tensor in merged.items()})


def test_without_a_configuration_the_folder_is_written_with_a_warning(tmp_path):
    save_file(weights(), tmp_path / "base.safetensors")
    bank = tvbank.create(tmp_path / "bank", tmp_path / "base.safetensors")
    bank.add("cats", weights(1), tvbank.Exact())
    with pytest.warns(UserWarning, match=r"no config.json.*--files"):
        out = tvbank.export(bank, "cats", out=f"{tmp_path}/out/")
    assert sorted(os.listdir(out)) == ["README.md", "model.safetensors"]
    files = tmp_path / "files"
    files.mkdir()
    (files / "config.json").write_text("[1]")
    with pytest.raises(errors.CheckpointError, match="no JSON object"):
        tvbank.export(bank, "cats", out=f"{tmp_path}/more/", files=files)
    (files / "config.json").write_text(json.dumps(CONFIG))
    more = tvbank.export(bank, "cats", out=f"{tmp_path}/more/", files=files)
    assert json.loads((more / "config.json").read_text()) == CONFIG
