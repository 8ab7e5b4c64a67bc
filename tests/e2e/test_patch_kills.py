"""A patch in place may die at any moment: the model is the old one or the new one, whole."""

import itertools
import shutil

import pytest
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
from tvbank.checkpoint import open_checkpoint


def is_one_of(found, states):
    """Which of some states it is, bit for bit; None if it is neither."""
    for number, state in enumerate(states):
        if {n: a.tobytes() for n, a in found.items()} == {n: a.tobytes() for n, a in state.items()}:
            return number
    return None


def load(path):
    """What a library reads, whatever else lies there."""
    if path.is_file():
        return load_file(path)
    with open_checkpoint(path) as checkpoint:
        return {name: checkpoint.read(name).copy() for name in checkpoint.tensors}


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("how", ["before", "torn"])
def test_killed_at_every_change(victim, tmp_path, kind, how):
    old = old_model()
    new = new_model(old)
    kept = tmp_path / "kept"
    if kind == "file":
        save_file(old, kept)
    else:
        save_folder(kept, old, PLACED)
    tvbank.diff(old, new, out=tmp_path / "update.zip")
    seen = set()
    for number in itertools.count():
        path = tmp_path / str(number) / "model"
        path.parent.mkdir()
        if kind == "file":
            path = path.with_suffix(".safetensors")
            shutil.copy(kept, path)
        else:
            shutil.copytree(kept, path)
        killed = victim(do="patch", bank=str(path), **{how: number})["killed"]
        state = is_one_of(load(path), (old, new))
        assert state is not None
        seen.add(state)
        again = tvbank.patch(path, tmp_path / "update.zip", in_place=True)
        assert again.already is (state == 1)
        assert_same(load_file(path) if kind == "file" else load_folder(path), new)
        left = {entry.name for entry in (path.parent if kind == "file" else path).iterdir()}
        assert not [name for name in left if ".tmp-" in name or name.startswith(".tvbank")]
        shutil.rmtree(path.parent)
        if not killed:
            break
    assert seen == {0, 1}
    assert number >= {"file": 2, "folder": 8}[kind]
