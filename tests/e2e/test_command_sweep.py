"""``tvbank sweep``."""

import json

import pytest


@pytest.fixture
def scored(shell, monkeypatch, tmp_path):
    """Runs ``sweep`` in a folder with an evaluation."""
    (tmp_path / "scores.py").write_text(
        "from safetensors.numpy import load_file\n"
        f"TUNED = load_file({str(shell.dogs)!r})\n"
        "def likeness(path):\n"
        "    tensors = load_file(path)\n"
        "    return 1 - sum(float(abs(tensors[n] - TUNED[n]).astype(float).sum()) for n in TUNED)\n"
        "def broken(path):\n"
        "    raise RuntimeError('no data')\n"
        "number = 3\n"
        "calls = []\n"
        "def sometimes(path):\n"
        "    calls.append(path)\n"
        "    return float('nan') if len(calls) == 3 else len(calls)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "scores", raising=False)

    def run(*options):
        return shell("sweep", shell.dogs, "--base", shell.base, *options)

    return run


def test_a_table_and_a_picture(scored, tmp_path):
    options = ("--budget", "2 KiB", "--budget", "4 KiB", "--drop", "0.5")
    ended = scored("--evaluate", "scores:likeness", *options, "--picture", "f.svg")
    assert ended.status == 0
    said = [line.partition(":")[0] for line in ended.err.splitlines()]
    rest = ["tswitch drop=0.5 knob=rms", "tswitch drop=0.5 knob=norm"]
    assert said == ["budget 2 KiB", "budget 4 KiB", *rest]
    assert "budget 2 KiB" in ended.out
    assert "tswitch drop=0.5 knob=norm" in ended.out
    assert "fine-tuned 1.0000; base -" in ended.out
    picture = (tmp_path / "f.svg").read_bytes()
    for drawn in (b"frontier", b"tswitch knob=rms", b"tswitch knob=norm", b"-- base --"):
        assert drawn in picture


def test_each_size_is_tried_with_products_too(scored):
    options = ("--method", "budget", "--budget", "4 KiB", "--products", "--json")
    found = json.loads(scored("--evaluate", "scores:likeness", *options).out)
    assert [point["compressor"].get("products") for point in found["points"]] == [None, True]


def test_json(scored):
    ended = scored(
        "--evaluate", "scores:likeness", "--method", "tswitch", "--drop", "0.9", "--json"
    )
    assert ended.status == 0
    found = json.loads(ended.out)
    assert found["tuned_score"] == 1
    assert found["base_score"] < 1
    assert [point["compressor"]["knob"] for point in found["points"]] == ["rms", "norm"]
    assert all(point["stored_bytes"] > 0 for point in found["points"])
    assert any(point["on_frontier"] for point in found["points"])


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (("--evaluate", "scores"), 2, "MODULE:NAME"),
        (("--evaluate", "scores:missing"), 2, "cannot be imported"),
        (("--evaluate", "nowhere_at_all:f"), 2, "cannot be imported"),
        (("--evaluate", "scores:number"), 2, "not a function"),
        (("--evaluate", "scores:broken"), 1, "RuntimeError: no data"),
        (("--evaluate", "scores:likeness", "--picture", "f.jpg"), 2, ".svg"),
        (("--evaluate", "scores:likeness", "--budget", "much"), 2, "0.3 bits/param"),
        (("--evaluate", "scores:likeness", "--method", "budget", "--drop", "0.9"), 2, "--drop"),
        (("--evaluate", "scores:likeness", "--method", "flexswitch"), 2, "--model"),
    ],
)
def test_what_goes_wrong_is_said(scored, options, status, message):
    ended = scored(*options)
    assert ended.status == status
    assert message in ended.err
    assert ended.out == ""


def test_what_has_a_score_keeps_it_when_another_fails(scored, tmp_path):
    options = ("--evaluate", "scores:sometimes", "--method", "tswitch")
    drops = ("--drop", "0.5", "--drop", "0.9")
    ended = scored(*options, *drops, "--json", "--picture", "f.svg")
    assert ended.status == 1
    found = json.loads(ended.out)
    assert [point["score"] for point in found["points"]] == [2, 4, 5]
    (failure,) = found["failures"]
    assert failure["compressor"]["drop"] == 0.9
    assert "returned nan" in failure["error"]
    assert (tmp_path / "f.svg").exists()
    said = ended.err.splitlines()
    assert [": 2.0000" in said[0], "failed: tswitch drop=0.9" in said[1]] == [True, True]

    ended = scored(*options, *drops)  # the evaluation goes on counting
    assert ended.status == 0
    assert "failed" not in ended.out


def test_a_picture_never_replaces_what_is_read(scored, shell, tmp_path):
    for path, what in ((shell.base, "base"), (shell.dogs, "fine-tune")):
        (tmp_path / "f.svg").symlink_to(path)
        before = path.read_bytes()
        ended = scored("--evaluate", "scores:likeness", "--picture", "f.svg")
        assert (ended.status, ended.out) == (2, "")
        assert f"f.svg is the {what} itself" in ended.err
        assert path.read_bytes() == before
        (tmp_path / "f.svg").unlink()
