"""Every verb of the command line does what it says, in tables and in JSON."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors
from safetensors.torch import load_file

import tvbank

VERBS = [
    "init", "add", "cp", "pack", "ls", "show", "export", "merge", "verify", "rm", "gc",
    "sweep", "demo", "routers", "build",
]  # fmt: skip


def tensors(path):
    return {
        name: (tensor["dtype"], tensor["shape"], bytes(tensor["data"]))
        for name, tensor in safetensors.deserialize(Path(path).read_bytes())
    }


def succeeded(ended):
    assert ended.status == 0
    assert ended.err == ""
    return ended.out


def parsed(ended):
    return json.loads(succeeded(ended))


def test_from_a_base_to_a_restored_fine_tune(shell, tmp_path):
    bank = tmp_path / "new" / "bank"
    made = succeeded(shell("init", bank, "--base", shell.base))
    assert "2 units, 35 parameters" in made
    added = succeeded(shell("add", bank, "dogs", shell.dogs, "--method", "exact"))
    assert "added dogs" in added
    assert "bits per parameter" in added
    out = tmp_path / "restored.safetensors"
    assert str(out) in succeeded(shell("export", bank, "dogs", "-o", out))
    assert tensors(out) == tensors(shell.dogs)
    assert succeeded(shell("verify", bank)).strip() == "sound"


def test_add_takes_options(shell):
    options = ("--drop", "0.25", "--knob", "norm", "--metadata", "author=me", "--metadata", "a=b=c")
    succeeded(shell("add", shell.bank, "dogs", shell.dogs, *options))
    task = tvbank.open(shell.bank)["dogs"]
    assert task.compressor == {"name": "tswitch", "drop": 0.25, "knob": "norm"}
    assert task.metadata == {"author": "me", "a": "b=c"}
    succeeded(shell("add", shell.bank, "dogs", shell.cats, "--replace", "--base", shell.base))
    assert tvbank.open(shell.bank)["dogs"].compressor == {"name": "budget", "budget": "1 %"}


def test_add_keeps_mismatched_units_whole(shell, tmp_path):
    resized = shell.file("resized.safetensors", **{"body.bias": weights_of(7)})
    succeeded(shell("add", shell.bank, "r", resized, "--method", "exact", "--replace-mismatched"))
    out = tmp_path / "out.safetensors"
    succeeded(shell("export", shell.bank, "r", "-o", out))
    assert tensors(out) == tensors(resized)


def weights_of(size):
    import numpy as np

    return np.linspace(0, 1, size, dtype=np.float16)


def test_ls(shell):
    rows = parsed(shell("ls", shell.bank, "--json"))
    bank = tvbank.open(shell.bank)
    assert [row["task"] for row in rows] == list(bank) == ["cats", "exact"]
    for row in rows:
        task = bank[row["task"]]
        assert row["compressor"] == task.compressor
        assert row["nonzeros"] == task.nonzeros
        assert row["stored_bytes"] == task.stored_bytes
        assert row["bits_per_parameter"] == task.bits_per_parameter
        assert row["revision"] == task.revision
        assert row["share_of_base"] > 0
    table = succeeded(shell("ls", shell.bank))
    for word in ("cats", "exact", "tswitch drop=0.5 knob=rms", bank["cats"].revision[:12]):
        assert word in table


def test_ls_of_an_empty_bank(shell, tmp_path):
    succeeded(shell("init", tmp_path / "empty", "--base", shell.base))
    assert parsed(shell("ls", tmp_path / "empty", "--json")) == []
    succeeded(shell("ls", tmp_path / "empty"))
    assert parsed(shell("show", tmp_path / "empty", "--json"))["tasks"] == 0


def test_show_a_bank(shell):
    facts = parsed(shell("show", shell.bank, "--json"))
    assert facts["location"] == str(shell.bank)
    assert facts["generation"] == 2
    assert facts["tasks"] == 2
    assert facts["base_units"] == 2
    assert facts["base_buffers"] == 1
    assert facts["base_parameters"] == 35
    assert facts["base_bytes"] == 4 * 30 + 2 * 5
    assert facts["chunk_length"] == 8
    table = succeeded(shell("show", shell.bank))
    assert str(shell.bank) in table
    assert "chunk length" in table


def test_show_a_task(shell):
    shown = parsed(shell("show", shell.bank, "exact", "--json"))
    task = tvbank.open(shell.bank)["exact"]
    assert [unit["name"] for unit in shown["units"]] == list(task)
    for unit in shown["units"]:
        dense = task[unit["name"]].to_dense()
        assert tuple(unit["shape"]) == dense.shape
        assert unit["nonzeros"] == (dense != 0).sum()
        assert unit["density"] == (dense != 0).mean()
        assert unit["bits"] == 8 * unit["bytes"] / dense.size
        assert len(unit["masks"]) > 0
    assert shown["extras"] == [{"name": "count", "dtype": "int64", "shape": [1]}]
    assert shown["metadata"] == {}
    table = succeeded(shell("show", shell.bank, "exact"))
    for word in ("body.weight", "6x5", "count", "(whole)", "exact"):
        assert word in table


def test_names_with_brackets_are_no_markup(shell, tmp_path):
    from safetensors.numpy import save_file

    names = ["a[bold]", "b[/bold]", ":smile:", "layers[0]", "[link=x]", "中文", "a\\[b]"]
    base = {name: weights_of(5) for name in names}
    save_file(base, tmp_path / "odd.safetensors")
    succeeded(shell("init", tmp_path / "odd", "--base", tmp_path / "odd.safetensors"))
    succeeded(shell("add", tmp_path / "odd", "t", tmp_path / "odd.safetensors"))
    table = succeeded(shell("show", tmp_path / "odd", "t"))
    assert all(name in table for name in names)


def test_merge(shell, tmp_path):
    out = tmp_path / "merged.safetensors"
    succeeded(shell("merge", shell.bank, "cats=0.25", "exact=-1e-1", "-o", out))
    bank = tvbank.open(shell.bank)
    expected = tvbank.merge(bank, {"cats": 0.25, "exact": -0.1}, base=shell.base)
    found = load_file(out)
    assert set(found) == set(expected)
    assert all((found[name] == tensor).all() for name, tensor in expected.items())


def test_a_weight_may_be_negative_at_the_front(shell, tmp_path):
    succeeded(shell("merge", shell.bank, "cats=-1", "-o", tmp_path / "out.safetensors"))


def test_output_is_replaced_with_force_only(shell, tmp_path):
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"old")
    for verb in (("export", shell.bank, "exact"), ("merge", shell.bank, "exact=1")):
        refused = shell(*verb, "-o", out)
        assert (refused.status, out.read_bytes()) == (2, b"old")
        assert "--force" in refused.err
    succeeded(shell("export", shell.bank, "exact", "-o", out, "--force"))
    assert tensors(out) == tensors(shell.dogs)


def test_verify(shell):
    assert succeeded(shell("verify", shell.bank)) == "sound\n"
    assert parsed(shell("verify", shell.bank, "--json")) == []
    shard = next(shell.bank.glob("tasks/cats/*/delta/c/0"))
    data = bytearray(shard.read_bytes())
    data[3] ^= 1
    shard.write_bytes(data)
    found = shell("verify", shell.bank)
    assert (found.status, found.err) == (1, "")
    assert found.out.endswith("2 faults\n")
    assert all(word in found.out for word in ("'cats'", "'body.weight'", "bytes 0 to "))
    as_json = shell("verify", shell.bank, "--json")
    assert as_json.status == 1
    faults = json.loads(as_json.out)
    assert [fault["reason"] for fault in faults] == ["object-digest", "frame-checksum"]
    assert faults[1]["unit"] == "body.weight"
    assert faults[1]["key"] == shard.relative_to(shell.bank).as_posix()
    assert faults[1]["start"] == 0 < faults[1]["stop"]


def test_cp_and_pack(shell):
    copy, zipped = shell.folder / "copy", shell.folder / "bank.zip"
    assert "copied 1 task," in succeeded(shell("cp", shell.bank, copy, "cats"))
    report = json.loads(succeeded(shell("cp", shell.bank, copy, "--json")))
    assert (report["tasks"], report["present"]) == (["exact"], ["cats"])
    assert "2 tasks there already" in succeeded(shell("cp", shell.bank, copy))
    assert "wrote" in succeeded(shell("pack", copy, zipped))
    assert shell("pack", copy, zipped).status == 1
    report = json.loads(succeeded(shell("pack", copy, zipped, "cats", "--force", "--json")))
    assert report["tasks"] == ["cats"]
    assert succeeded(shell("verify", zipped)) == "sound\n"
    assert "cats" in succeeded(shell("ls", zipped))
    assert shell("rm", zipped, "cats").status == 1
    assert shell("cp", shell.bank, "s3://me:secret@bucket/x").status == 2


def test_rm_and_gc(shell):
    said = succeeded(shell("rm", shell.bank, "cats"))
    assert "gc" in said
    assert list(tvbank.open(shell.bank)) == ["exact"]
    assert list(shell.bank.glob("tasks/cats/*/delta"))
    said = succeeded(shell("gc", shell.bank))
    assert "removed 0 objects" in said
    assert "--grace 0" in said
    report = json.loads(succeeded(shell("gc", shell.bank, "--grace", 0, "--json")))
    assert report["objects"] > 0
    assert not (shell.bank / "tasks/cats").exists()
    assert "removed 0 objects" in succeeded(shell("gc", shell.bank, "--grace", 0))
    assert succeeded(shell("verify", shell.bank)) == "sound\n"


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_of_every_verb(shell, verb, flag):
    text = succeeded(shell(verb, flag))
    assert f"tvbank {verb}" in text
    if verb in ("ls", "show", "verify", "routers"):
        assert "--json" in text


def test_help_names_every_verb(shell):
    text = succeeded(shell("--help"))
    assert all(verb in text for verb in VERBS)
    assert tvbank.__version__ in succeeded(shell("--version"))


def test_the_installed_program(shell):
    program = Path(sys.executable).with_name("tvbank")
    done = subprocess.run([program, "ls", shell.bank, "--json"], capture_output=True, check=True)
    assert [row["task"] for row in json.loads(done.stdout)] == ["cats", "exact"]
    assert done.stderr == b""
    failed = subprocess.run(
        [program, "show", shell.bank, "nope"], capture_output=True, check=False, text=True
    )
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert failed.stderr.count("\n") == 1


def test_a_terminal_without_the_letters(shell, tmp_path):
    from safetensors.numpy import save_file

    save_file({"中文": weights_of(5)}, tmp_path / "odd.safetensors")
    succeeded(shell("init", tmp_path / "odd", "--base", tmp_path / "odd.safetensors"))
    succeeded(shell("add", tmp_path / "odd", "t", tmp_path / "odd.safetensors"))
    program = Path(sys.executable).with_name("tvbank")
    done = subprocess.run(
        [program, "show", tmp_path / "odd", "t"], capture_output=True, check=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert rb"\u4e2d\u6587" in done.stdout


def test_a_place_for_the_output_that_is_full(shell, monkeypatch):
    def refuse(*_arguments, **_options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tvbank.cli.reading.print_answer", refuse)
    ended = shell("ls", shell.bank)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == "tvbank: the system refuses: No space left on device\n"


def test_a_reader_that_goes_away(shell):
    program = Path(sys.executable).with_name("tvbank")
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as nobody:
        done = subprocess.run(
            [program, "show", shell.bank, "exact"], stdout=nobody, stderr=subprocess.PIPE,
            check=False, text=True,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == ""


def test_an_interrupt_is_no_traceback(shell, monkeypatch):
    def interrupt(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("tvbank.storage._open.LocalStorage", interrupt)
    ended = shell("ls", shell.bank)
    assert ended.status == 130
    assert ended.err == "tvbank: interrupted; what was published before stays\n"


def test_a_bug_of_ours_is_one_sentence_too(shell, monkeypatch):
    def fail(*_arguments):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr("tvbank.storage._open.LocalStorage", fail)
    ended = shell("ls", shell.bank)
    assert ended.status == 1
    assert ended.err.count("\n") == 1
    assert "internal error: RuntimeError: first line" in ended.err
    monkeypatch.setenv("TVBANK_DEBUG", "1")
    with pytest.raises(RuntimeError):
        shell("ls", shell.bank)
