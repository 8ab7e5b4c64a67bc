"""Running ``tvbank`` in this process, and the files that its tests give it."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import banks
import numpy as np
from safetensors.numpy import save_file

import tvbank


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


class Shell:
    """Runs commands in a folder with a base, fine-tunes and a bank.

    ``base``, ``cats``, ``dogs``: safetensors files; ``bank``: holds ``cats`` (lossy) and ``exact``.
    """

    def __init__(self, folder: Path, monkeypatch, capsys) -> None:
        self.folder, self._monkeypatch, self._capsys = folder, monkeypatch, capsys
        self.base, self.bank = folder / "base.safetensors", folder / "bank"
        self.cats, self.dogs = folder / "cats.safetensors", folder / "dogs.safetensors"

    def __call__(self, *arguments) -> Ended:
        """Run ``tvbank`` with these arguments."""
        from tvbank.cli import main

        self._monkeypatch.setattr(sys, "argv", ["tvbank", *map(str, arguments)])
        self._capsys.readouterr()
        try:
            main()
        except SystemExit as end:
            printed = self._capsys.readouterr()
            return Ended(end.code or 0, printed.out, printed.err)
        raise AssertionError("the program did not exit")

    def file(self, name: str, **changes) -> Path:
        """A fine-tune of the base with some tensors replaced, or left out if they are None."""
        tensors = weights(0) | changes
        path = self.folder / name
        save_file({key: value for key, value in tensors.items() if value is not None}, path)
        return path

    def digest(self) -> str:
        """Of every file of the bank, by name and content."""
        digest = hashlib.sha256()
        for path in sorted(self.bank.rglob("*")):
            digest.update(str(path).encode())
            if path.is_file():
                digest.update(path.read_bytes())
        return digest.hexdigest()

    def damage(self, **edits) -> None:
        """Forge the bank's documents (see ``banks.forge``)."""
        storage = tvbank.open(self.bank).storage
        before = banks.contents(storage)
        forged = banks.forge(before, **edits)
        for key in before.keys() - forged.keys():
            storage.delete(key)
        for key, data in forged.items():
            storage.put(key, data)


def weights(step: float) -> dict[str, np.ndarray]:
    """A small model, so many steps from the base."""
    rng = np.random.default_rng(4)
    return {
        "body.weight": rng.standard_normal((6, 5)).astype(np.float32)
        + np.float32(step) * rng.standard_normal((6, 5)).astype(np.float32),
        "body.bias": np.arange(5, dtype=np.float16) + np.float16(step),
        "count": np.array([int(10 * step)]),
    }


def build(folder: Path) -> None:
    """Write the base, two fine-tunes and a bank."""
    for name, step in (("base", 0.0), ("cats", 0.1), ("dogs", 0.3)):
        save_file(weights(step), folder / f"{name}.safetensors")
    bank = tvbank.create(folder / "bank", base=folder / "base.safetensors", chunk_length=8)
    bank.add("cats", folder / "cats.safetensors", tvbank.TSwitch(drop=0.5), {"n": 1})
    bank.add("exact", folder / "dogs.safetensors", tvbank.Exact())
