"""``tvbank report``."""

import json

import pytest


def test_a_page_and_a_table(shell, tmp_path):
    out = tmp_path / "report.html"
    before = shell.digest()
    ended = shell("report", shell.bank, "-o", out, "--tuned", f"cats={shell.cats}")
    assert ended.status == 0
    assert "cats" in ended.out
    assert "tswitch drop=0.5" in ended.out
    assert f"wrote {out}" in ended.out
    assert out.read_text().startswith("<!doctype html>")
    assert shell.digest() == before

    ended = shell("report", shell.bank, "-o", out)
    assert (ended.status, ended.out) == (2, "")
    assert "--force" in ended.err
    assert shell("report", shell.bank, "-o", out, "--force").status == 0


def test_json(shell):
    ended = shell("report", shell.bank, "--json", "--task", "cats", "--density", "0.01")
    assert ended.status == 0
    found = json.loads(ended.out)
    assert [task["name"] for task in found["tasks"]] == ["cats"]
    assert found["density"] == 0.01
    assert found["tasks"][0]["norm"] > 0


def test_two_checkpoints(shell, tmp_path):
    out = tmp_path / "changed.html"
    ended = shell("report", shell.base, shell.dogs, "-o", out, "--svg", tmp_path / "pictures")
    assert ended.status == 0
    assert ended.out.startswith("Of 35 parameters")
    assert (tmp_path / "pictures" / "change-relative.svg").exists()
    assert "Largest changes first" in out.read_text()
    found = json.loads(shell("report", shell.base, shell.dogs, "--json").out)
    assert found["sentence"] == ended.out.splitlines()[0]


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (("{bank}", "--task", "none"), 1, "none"),
        (("{bank}", "--density", "2"), 2, "density"),
        (("{bank}", "--tuned", "cats"), 2, "KEY=VALUE"),
        (("{bank}", "--tuned", "none={cats}"), 1, "none"),
        (("{bank}", "-o", "{bank}/tasks/report.html"), 2, "belongs to the bank"),
        (("{bank}", "-o", "{folder}/nowhere/report.html"), 2, "no folder"),
        (("{bank}", "-o", "{cats}", "--tuned", "cats={cats}", "--force"), 2, "the checkpoint"),
        (("{base}", "{dogs}", "--task", "cats"), 2, "--task is for a bank"),
        (("{base}", "{dogs}", "-o", "{dogs}", "--force"), 2, "the checkpoint"),
        (("{base}",), 1, ""),
        (("{folder}/nothing", "{dogs}"), 1, "nothing"),
    ],
)
def test_what_is_wrong_is_said(shell, options, status, message):
    places = {name: getattr(shell, name) for name in ("bank", "base", "cats", "dogs", "folder")}
    before = shell.digest()
    ended = shell("report", *(option.format(**places) for option in options))
    assert (ended.status, ended.out) == (status, "")
    assert message in ended.err
    assert "internal error" not in ended.err
    assert shell.digest() == before
