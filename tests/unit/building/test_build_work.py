"""The work folder of a build."""

from tvbank.building._task import WorkFolder

KEY = "a" * 64


def test_what_killed_builds_left_half_written_goes(tmp_path):
    work = WorkFolder(tmp_path / "work")
    work.sweep()
    work.put(KEY, 3, b"done")
    for folder in (KEY, "notes"):
        (tmp_path / "work" / folder).mkdir(exist_ok=True)
        (tmp_path / "work" / folder / "4.tmp-0123456789abcdef").write_bytes(b"half")
    work.sweep()
    files = [path for path in (tmp_path / "work").rglob("*") if path.is_file()]
    assert files == [tmp_path / "work" / KEY / "3"]
    assert work.has(KEY, 3)
