"""``tvbank diff`` and ``tvbank patch``: what people use who have no bank."""

import json

from safetensors.numpy import load_file
from unit.updates.conftest import assert_same


def test_there_and_again(shell):
    update, out = shell.folder / "update.zip", shell.folder / "out.safetensors"
    ended = shell("diff", shell.base, shell.cats, "-o", update)
    assert (ended.status, ended.err) == (0, "")
    assert str(update) in ended.out
    assert shell("ls", update).status == 0
    ended = shell("patch", shell.base, update, "-o", out)
    assert (ended.status, ended.err) == (0, "")
    assert "new state proved" in ended.out
    assert_same(load_file(out), load_file(shell.cats))
    ended = shell("patch", shell.base, update, "-o", out)
    assert ended.status == 1
    assert "--force" in ended.err
    ended = shell("patch", shell.base, update, "-o", out, "--force", "--json")
    report = json.loads(ended.out)
    assert (report["path"], report["proved"], report["already"]) == (str(out), True, False)


def test_in_place_needs_the_flag_and_twice_says_so(shell):
    update = shell.folder / "update.zip"
    report = json.loads(shell("diff", shell.base, shell.cats, "-o", update, "--json").out)
    assert report["bytes"] == update.stat().st_size
    before = shell.base.read_bytes()
    ended = shell("patch", shell.base, update)
    assert ended.status == 2
    assert shell.base.read_bytes() == before
    assert shell("patch", shell.base, update, "--in-place").status == 0
    assert_same(load_file(shell.base), load_file(shell.cats))
    ended = shell("patch", shell.base, update, "--in-place")
    assert ended.status == 0
    assert "already applied" in ended.out
    ended = shell("patch", shell.base, update, "-o", shell.folder / "out.safetensors")
    assert ended.status == 1
    assert "already applied" in ended.err
    ended = shell("patch", shell.dogs, update, "--in-place")
    assert ended.status == 1
    assert "not the base" in ended.err
