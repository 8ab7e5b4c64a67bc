"""Every benchmark and every soak runs on something tiny, and real numbers come out."""

import json
import math
import subprocess
import sys

import pytest

import tools
from tools.bench import _measure, coding, sizes
from tools.bench._checkpoints import Checkpoints
from tools.soak import memory


def numbers(value):
    """Every number in what a command printed."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for part in value for number in numbers(part)]
    return [value] if isinstance(value, (int, float)) and not isinstance(value, bool) else []


def sound(rows, *names):
    """Whether rows have finite numbers, and those named are positive."""
    assert rows
    assert all(map(math.isfinite, numbers(rows)))
    return all(row[name] > 0 for row in rows for name in names)


def test_the_list_of_commands_is_what_there_is(monkeypatch, capsys):
    for room, some in (("bench", {"coding", "realtasks"}), ("soak", {"kills", "scale"})):
        monkeypatch.setattr(sys, "argv", [room])
        tools.run_named(room)
        listed = capsys.readouterr().out
        assert some <= {line.split()[0] for line in listed.splitlines()}
        assert all(len(line.split()) > 3 for line in listed.splitlines())
    monkeypatch.setattr(sys, "argv", ["bench", "nothing"])
    with pytest.raises(SystemExit, match="no 'nothing'"):
        tools.run_named("bench")


@pytest.mark.parametrize("name", ["adding", "reading", "switching"])
def test_ratios_of_tiny_fine_tunes(name, run, tiny):
    found = run("bench", name, *tiny, "--rounds", 1, "--json")
    assert sound(found["base"], "ratio", "quiet")


def test_bytes_of_tiny_fine_tunes(run, tiny):
    rows = [row.figures() for row in sizes.real(Checkpoints("", tiny[1], tuple(tiny[3:])), True)]
    assert all(row["ratio"] is None or row["ratio"] > 0 for row in rows)
    assert sum(row["ratio"] is not None for row in rows) > 5
    found = run("bench", "masks", *tiny, "--json")
    assert sound(
        found["mask bytes / i.i.d. entropy; stored bytes / generic"],
        "blocks",
        "u8 gaps + zstd-19",
        "ratio",
    )


def test_frames_are_measured():
    of_bytes, of_speed, of_masks = coding.measure(3000, 0.1, 0)
    assert sound([of_bytes], "ratio", "frame")
    assert sound([of_speed], "decode")
    assert sound([of_masks], "gaps")


def test_building_makes_the_same_bank(run, tiny):
    found = run("bench", "building", *tiny, "--method", "exact", "--workers", 1, "--json")
    assert (found["tasks"], found["units"]) == (2, 8)
    assert found["ratio started"] > 0


def test_requests_are_counted(run, tiny):
    found = run("bench", "stores", *tiny[:4], "--rounds", 1, "--json")
    assert found["requests to open"] == 2
    assert sound(found["times"], "ms")


def test_merges_agree_with_mergekit(run):
    pytest.importorskip("mergekit")
    for row in run("bench", "mergekit", "--json")["entry by entry, against mergekit's"]:
        assert row["largest difference"] < 1e-6


def test_kills_lose_nothing(tmp_path):
    command = [sys.executable, "-m", "tools.soak", "kills", "--kills", "2", "--json"]
    done = subprocess.run([*command, "--folder", str(tmp_path)], stdout=subprocess.PIPE, check=True)
    assert sum(json.loads(done.stdout)["kills"].values()) == 2


def test_flipped_bits_are_found(run, capsys):
    with pytest.raises(SystemExit) as ended:
        run("soak", "flips", "--every", 20_000, "--json")
    assert ended.value.code == 0
    assert '"undetected": 0' in capsys.readouterr().out


def test_growth_of_a_catalog(run):
    (rows,) = (
        v for n, v in run("soak", "scale", "--tasks", 2, 4, "--json").items() if n[:2] == "as"
    )
    requests = [row for row in rows if row["unit"] == "requests"]
    assert all(row["2 tasks"] == row["4 tasks"] > 0 for row in requests)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_a_command():
    code = "import time; held = bytearray(50_000_000); time.sleep(0.3)"
    found = memory.watch([sys.executable, "-c", code], {}, memory.LIMIT)
    assert 50e6 < found.anonymous <= found.resident < memory.LIMIT
    sizes = [math.prod(shape) for shape in memory.shapes(3_000_000_000).values()]
    assert abs(sum(sizes) / 3e9 - 1) < 0.05


def test_a_file_appears_when_it_is_complete(tmp_path):
    with _measure.appearing(tmp_path / "file") as coming:
        coming.write_text("half")
        assert not (tmp_path / "file").exists()
    assert (tmp_path / "file").read_text() == "half"
