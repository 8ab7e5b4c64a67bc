"""A user's program, checked by the user's mypy: the package says that it is typed, and is."""

import subprocess
import sys

import pytest

pytest.importorskip("mypy", reason="mypy is not installed: pip install -e '.[lint]'")

_RIGHT = """
from collections.abc import Mapping

import torch

import tvbank


def add(place: str, base: Mapping[str, torch.Tensor], tuned: Mapping[str, torch.Tensor]) -> int:
    bank = tvbank.create(place, base=dict(base))
    task = bank.add("cats", dict(tuned), tvbank.Budget("1 %"))
    return task.stored_bytes


def names(place: str) -> list[str]:
    return [task.name for task in tvbank.open(place).values() if task.nonzeros > 0]


def merged(bank: tvbank.Bank) -> dict[str, torch.Tensor]:
    return tvbank.merge(bank, {"cats": 1.0}, method=tvbank.Ties(density=0.2))


def switched(model: torch.nn.Module, bank: tvbank.Bank) -> None:
    switch = tvbank.attach(model, bank)
    with switch("cats"):
        pass
    reveal_type(switch.active)
"""

_WRONG = """
import tvbank

bank = tvbank.open("bank")
bank.add("cats", {}, drop=0.9)
weights: list[float] = tvbank.merge(bank, {"cats": 1.0})
"""


def test_a_users_program_is_checked(tmp_path):
    (tmp_path / "right.py").write_text(_RIGHT)
    (tmp_path / "wrong.py").write_text(_WRONG)
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", "cache", "right.py", "wrong.py"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    lines = ran.stdout.splitlines()
    assert [line for line in lines if line.startswith("right.py")] == [
        'right.py:27: note: Revealed type is "str | dict[str, float] | None"'
    ]
    wrong = [line for line in lines if line.startswith("wrong.py")]
    assert 'Unexpected keyword argument "drop"' in wrong[0]
    assert "Incompatible types in assignment" in wrong[-1]
    assert "untyped" not in ran.stdout
    assert "import-not-found" not in ran.stdout
