"""The demo writes over nothing, and knows its own folders."""

import json

import pytest

from tvbank.demo.folder import DemoFolder
from tvbank.errors import StorageError, UsageError


def test_a_new_or_an_empty_folder_is_taken(tmp_path):
    for path in (tmp_path / "new" / "deep", tmp_path / "empty"):
        if path.name == "empty":
            path.mkdir()
        folder = DemoFolder.make(path)
        assert folder.checkpoints.is_dir()
        assert folder.exports.is_dir()
        assert folder.made_by_demo()


def test_an_earlier_demo_is_refused_with_how_to_remove_it(tmp_path):
    path = tmp_path / "my demo"
    DemoFolder.make(path)
    with pytest.raises(UsageError, match=r"earlier demo: remove it \(rm -r '.*my demo'\)"):
        DemoFolder.make(path)


@pytest.mark.parametrize("summary", [None, "{", "[]", '{"made_by": "me"}', "\udcff"])
def test_a_folder_with_anything_else_is_refused_and_stays_as_it_is(tmp_path, summary):
    (tmp_path / "precious").write_text("x")
    if summary is not None:
        (tmp_path / "demo.json").write_text(summary, errors="surrogateescape")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match="not empty and no demo made it") as caught:
        DemoFolder.make(tmp_path)
    assert "rm -r" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is a file"):
        DemoFolder.make(tmp_path / "file")


def test_a_folder_that_cannot_be_made_is_an_error_of_the_store(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot make the folder"):
        DemoFolder.make(tmp_path / "file" / "demo")


def test_the_summary_keeps_the_mark(tmp_path):
    folder = DemoFolder.make(tmp_path / "demo")
    folder.note({"finished": True})
    assert folder.made_by_demo()
    assert json.loads(folder.summary.read_text())["finished"] is True
