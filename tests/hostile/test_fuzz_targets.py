"""The targets of fuzzing hold for all their seeds, which are the vectors; so does the command."""

import importlib
import os
import subprocess
import sys

import pytest
from conftest import ROOT

from tools.fuzz import TARGETS
from tools.fuzz._sources import compiled_modules

COMPILED = [name for name, target in TARGETS.items() if not target.interpreted]
INTERPRETED = [name for name, target in TARGETS.items() if target.interpreted]
_SEEDS = """
import importlib, sys
from tools.fuzz._interpreted import interpret
interpret()
target = importlib.import_module(f"tools.fuzz.targets.{sys.argv[1]}")
seeds = list(target.seeds())
for seed in seeds:
    target.check(seed)
print(len(seeds))
"""


@pytest.mark.parametrize("name", COMPILED)
def test_every_seed_is_read_alike(name):
    target = importlib.import_module(f"tools.fuzz.targets.{name}")
    seeds = list(target.seeds())
    assert len(seeds) > 5
    for seed in seeds:
        target.check(seed)


@pytest.mark.parametrize("name", INTERPRETED)
def test_the_loops_as_python_stay_within_their_memory(name):
    ran = subprocess.run(
        [sys.executable, "-c", _SEEDS, name],
        cwd=ROOT, env=os.environ | {"NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert int(ran.stdout) > 200


def test_compiled_code_is_left_without_counters():
    found = compiled_modules()
    assert "tvbank.coding.kernel" in found
    assert "tvbank.coding.decoding.blocks" in found
    assert "tvbank.merging._sum" in found
    assert "tvbank.coding.header" in found  # another module compiles a function of it
    assert "tvbank.coding.faults" not in found


def test_an_unknown_target_is_refused():
    ran = subprocess.run(
        [sys.executable, "-m", "tools.fuzz", "fram"], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 2
    assert "fram; there are frame, kernels" in ran.stderr
