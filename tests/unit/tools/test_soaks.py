"""Every soak runs on something tiny; what the commands share."""

import ast
import json
import math
import re
import subprocess
import sys

import pytest

import tools
from tools.bench import _measure
from tools.soak import memory, switching


def test_the_list_of_commands_is_what_there_is(monkeypatch, capsys):
    for folder, some in (("bench", {"coding", "realtasks"}), ("soak", {"kills", "scale"})):
        monkeypatch.setattr(sys, "argv", [folder])
        tools.run_named(folder)
        listed = capsys.readouterr().out
        assert some <= {line.split()[0] for line in listed.splitlines()}
        assert all(len(line.split()) > 3 for line in listed.splitlines())
    monkeypatch.setattr(sys, "argv", ["bench", "nothing"])
    with pytest.raises(SystemExit, match="no 'nothing'"):
        tools.run_named("bench")


def test_help_texts_have_no_stray_percent_sign():
    """``argparse`` fills them in by ``%`` when ``--help`` prints them."""
    for path in (tools.ROOT / "tools").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "help":
                text = "".join(
                    part.value
                    for part in ast.walk(node)
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                )
                assert not re.search(r"%(?!\()", text.replace("%%", "")), (path, text)


def test_kills_lose_nothing(tmp_path):
    command = [sys.executable, "-m", "tools.soak", "kills", "--kills", "2", "--json"]
    done = subprocess.run([*command, "--folder", str(tmp_path)], stdout=subprocess.PIPE, check=True)
    assert sum(json.loads(done.stdout)["kills"].values()) == 2


def test_flipped_bits_are_found(run, capsys):
    with pytest.raises(SystemExit) as ended:
        run("soak", "flips", "--every", 20_000, "--json")
    assert ended.value.code == 0
    assert '"undetected": 0' in capsys.readouterr().out


def test_writes_beside_switching_are_noticed(monkeypatch):
    rows = switching.soak(30, seed=1)
    assert all(row["lost"] == row["wrong"] == 0 < row["writes"] for row in rows)
    monkeypatch.setattr("tvbank.switching._samples.Samples.changed", lambda self: [])
    assert all(row["lost"] > 0 for row in switching.soak(30, seed=1))


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
