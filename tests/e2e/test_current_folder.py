"""No program of tvbank's runs Python files of the folder it is started in."""

import os
import subprocess
import sys

import manifests
import pytest

import tvbank

PROGRAM = "import sys; from tvbank.cli import main; main()"
#: Modules that workers import, and one that the main program imports late.
NAMES = ("pickle", "numpy", "msgspec", "tvbank", "sitecustomize", "numba", "fsspec")


@pytest.fixture
def strange(tmp_path, monkeypatch):
    """The current folder: files that say who ran them, under the names of common modules."""
    folder = tmp_path / "downloaded"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})")
    monkeypatch.chdir(folder)
    return folder


def run(*arguments, program=PROGRAM, **environment):
    """A program in a process of its own that does not have the current folder on its path."""
    return subprocess.run(
        [sys.executable, "-P", "-c", program, *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_build(strange, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    manifests.write_checkpoints(home, 1)
    task = {"checkpoint": "t0.safetensors", **manifests.EXACT}
    ended = run("build", manifests.write(home, {"t": task}), "--workers", "1")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert list(tvbank.open(home / "bank")) == ["t"]
    assert not (tmp_path / "ran").exists()


def test_every_process_has_a_path_without_it(strange):
    """Even where the caller has it: by an empty entry, a relative one, or as the program's own."""
    program = (
        "import os, subprocess, sys\n"
        "from tvbank._imports import environment_of_child, import_path, shut_out_current_folder\n"
        "sys.path[:0] = ['', '.', os.getcwd()]\n"
        "if len(sys.argv) > 1: shut_out_current_folder(); assert sys.path == import_path()\n"
        "show = 'import os, sys; here = os.getcwd(); '\n"
        "show += 'print([p for p in sys.path if os.path.abspath(p) == here])'\n"
        "child = f'import subprocess, sys; subprocess.run([sys.executable, \"-c\", {show!r}])'\n"
        "subprocess.run([sys.executable, '-c', child], env=environment_of_child())\n"
    )
    for arguments in ((), ("shut out",)):
        ended = run(*arguments, program=program)
        assert (ended.stdout, ended.stderr) == ("[]\n", "")


def test_what_is_named_in_full_stays(strange, monkeypatch):
    from tvbank._imports import import_path

    monkeypatch.syspath_prepend(str(strange))
    assert str(strange) not in import_path()
    monkeypatch.setenv("PYTHONPATH", f"{os.pathsep}.{os.pathsep}{strange}")
    assert import_path()[0] == str(strange)


def test_numba_reads_no_settings_that_execute(strange):
    (strange / ".numba_config.yaml").write_text(f"cache_dir: {strange}\n")
    program = (
        "from tvbank._imports import shut_out_current_folder\nshut_out_current_folder()\n"
        "from tvbank.coding.kernel import kernel\nfrom numba import config\n"
        "print([config.CACHE_DIR])\n"
    )
    ended = run(program=program)
    assert (ended.stdout, ended.stderr) == ("['']\n", "")


def test_a_compressor_of_the_program_itself(tmp_path, monkeypatch):
    """A program's own module of the current folder reaches its workers; nothing else there does."""
    manifests.write_checkpoints(tmp_path, 1)
    path = manifests.write(tmp_path, {"t": {"checkpoint": "t0.safetensors"}})
    (tmp_path / "mine.py").write_text(
        "from tvbank.compress import Exact\nclass Mine(Exact):\n    __module__ = 'mine'\n"
    )
    (tmp_path / "run.py").write_text(
        "import sys, msgspec, mine, tvbank\nfrom tvbank.building import read_manifest\n"
        "plan = read_manifest(sys.argv[1])\n"
        "tasks = [msgspec.structs.replace(t, compressor=mine.Mine()) for t in plan.tasks]\n"
        "plan = msgspec.structs.replace(plan, tasks=tuple(tasks))\n"
        "print(tvbank.build(plan, workers=1))\n"
    )
    monkeypatch.chdir(tmp_path)
    ended = subprocess.run(
        [sys.executable, "run.py", str(path)], capture_output=True, text=True, timeout=300
    )
    assert "built=('t',)" in ended.stdout, ended.stderr


def test_evaluate_has_it_for_its_import_only(strange, tmp_path):
    manifests.write_checkpoints(tmp_path, 1)
    for name in NAMES:
        (strange / f"{name}.py").unlink()
    (strange / "beside.py").write_text("")
    (strange / "scores.py").write_text(
        "import os, sys, beside\nassert os.getcwd() in sys.path\n"
        "def likeness(path):\n    assert os.getcwd() not in sys.path\n    return 1\n"
    )
    ended = run(
        "sweep", tmp_path / "t0.safetensors", "--base", tmp_path / "base.safetensors",
        "--evaluate", "scores:likeness", "--method", "tswitch", "--drop", "0.5",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr


def test_the_help_says_whose_code_runs():
    for verb in ("sweep", "add"):
        shown = " ".join(run(verb, "--help", COLUMNS="200").stdout.replace("│", " ").split())
        assert "Its code runs. For its import, and only then," in shown
