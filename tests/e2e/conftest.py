"""Fixtures of the end-to-end tests: a process to mistreat, and a bank for it to change."""

import json
import os
import subprocess
import sys
from pathlib import Path

import banks
import pytest
from command_line import Shell, build

import tvbank

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def victim():
    """Send an order to the process that forks and mistreats children; its answer."""
    paths = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    environment = os.environ | one_thread | {"PYTHONPATH": os.pathsep.join(paths)}
    with subprocess.Popen(
        [sys.executable, HERE / "victim.py"], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert json.loads(process.stdout.readline()) == "ready"

        def order(**wishes):
            process.stdin.write(json.dumps(wishes) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            assert not answer["failed"]
            return answer

        yield order
        process.stdin.close()


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A bank with two tasks, and garbage: a removed task and a replaced revision."""
    path = tmp_path_factory.mktemp("sound") / "bank"
    bank = banks.small_bank(path)
    bank.add("removed", banks.fine_tune(3), tvbank.Exact())
    bank.add("lossy", banks.fine_tune(4), tvbank.Exact(), replace=True)
    bank.remove("removed")
    bank.add("lossy", banks.fine_tune(0), tvbank.TSwitch(drop=0.5), replace=True)
    return path


@pytest.fixture
def shell(tmp_path, monkeypatch, capsys):
    """Run ``tvbank`` in this process, with a small bank at hand."""
    build(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return Shell(tmp_path, monkeypatch, capsys)
