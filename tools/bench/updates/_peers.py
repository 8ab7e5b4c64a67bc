"""Packages that store a checkpoint as what changed since another, each at the best it can do."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tools.bench._measure import silence
from tools.bench.updates._way import THREADS, CannotError, Way, pair_of


class Arc(Way):
    """Fireworks' arc_v3, all of its candidates waited for; it unpickles what it restores from."""

    label = "arc_v3, all candidates"
    package = "fireworks-delta-compression"

    def prepare(self) -> None:
        """See ``Way``; the variable is read when the package is imported."""
        os.environ["ARC3_CANDIDATE_WAIT_MULTIPLIER"] = "1e6"
        import fireworks_delta_compression as arc

        self._arc = arc

    def encode(self) -> int:
        """See ``Way``."""
        with ThreadPoolExecutor(THREADS) as pool:
            self._arc.delta_compress_files_to_file(
                src=str(self.old), dst=str(self.new), diff_file=str(self.update),
                compression_format="arc_v3", executor=pool,
            )  # fmt: skip
        return self.update.stat().st_size

    def restore(self) -> None:
        """See ``Way``."""
        from safetensors.torch import load_file, save_file

        with ThreadPoolExecutor(THREADS) as pool:
            state = self._arc.delta_decompress_dict_from_file(
                src=load_file(self.old), diff_file=str(self.update), compression_format="arc_v3",
                executor=pool,
            )  # fmt: skip
        save_file(state, self.out, {"format": "pt"})


class Z4ai(Way):
    """Its delta of whole checkpoints."""

    label = "z4ai"
    package = "z4ai"

    def prepare(self) -> None:
        """See ``Way``."""
        from z4ai import model_delta

        self._deltas = model_delta

    def encode(self) -> int:
        """See ``Way``."""
        self._deltas.compress_file(str(self.new), str(self.old), str(self.update), threads=THREADS)
        return self.update.stat().st_size

    def restore(self) -> None:
        """See ``Way``."""
        self._deltas.decompress_file(str(self.update), str(self.old), str(self.out))


class Zipnn(Way):
    """Old XOR new, as it recommends for differences, by the method that it chooses."""

    label = "zipnn of XOR"
    package = "zipnn"

    def prepare(self) -> None:
        """See ``Way``."""
        from zipnn import ZipNN

        before, _ = pair_of(self.old, self.new)
        widths = {piece.width for piece in before.pieces()}
        if not widths <= {2, 4}:
            raise CannotError("it takes elements of two or four bytes")
        self._dtype = "float32" if 4 in widths else "bfloat16"
        self._coder = lambda: ZipNN(
            method="AUTO", bytearray_dtype=self._dtype, input_format="byte", threads=THREADS
        )

    def encode(self) -> int:
        """See ``Way``."""
        before, after = pair_of(self.old, self.new)
        difference = bytearray((before.data ^ after.data).data)
        with silence():
            packed = self._coder().compress(difference)  # it reorders what it is given in place
        self.update.write_bytes(packed)
        return self.update.stat().st_size

    def restore(self) -> None:
        """See ``Way``."""
        before, _ = pair_of(self.old, self.old)
        with silence():
            difference = self._coder().decompress(self.update.read_bytes())
        with self.out.open("wb") as file:
            file.write(before.header)
            file.write(np.frombuffer(difference, np.uint8) ^ before.data)


class Moonclip(Way):
    """Its store of snapshots: the bytes by which the second one makes it grow."""

    label = "moonclip"
    package = "moonclip"

    def prepare(self) -> None:
        """See ``Way``: the first snapshot is there."""
        os.environ |= {"MOONCLIP_THREADS": str(THREADS), "MOONCLIP_FSYNC": "0"}
        from moonclip import CheckpointManager
        from safetensors.torch import load_file

        shutil.rmtree(self.update, ignore_errors=True)
        self._store = CheckpointManager(str(self.update), async_save=False)
        self._store.save_raw(0, load_file(self.old))
        self._before = _bytes_of(self.update)

    def encode(self) -> int:
        """See ``Way``."""
        from safetensors.torch import load_file

        self._name = self._store.save_raw(1, load_file(self.new))
        return _bytes_of(self.update) - self._before

    def restore(self) -> None:
        """See ``Way``."""
        import torch
        from safetensors.torch import load_file, save_file

        found = self._store._mgr.load(self._name)
        like = load_file(self.old)
        state = {
            name: torch.frombuffer(bytearray(found[name]), dtype=t.dtype).view(t.shape)
            for name, t in like.items()
        }
        save_file(state, self.out, {"format": "pt"})


class Reminis(Way):
    """Its delta packs, between two of its databases, which are made before."""

    label = "reminis"
    package = "reminis"

    def prepare(self) -> None:
        """See ``Way``."""
        from reminis.safetensors_io import safetensors_to_sqlite

        for path in (self.old, self.new):
            safetensors_to_sqlite(str(path), str(self._database(path)), verbose=False)

    def encode(self) -> int:
        """See ``Way``."""
        from reminis.diff import diff_models

        old, new = self._database(self.old), self._database(self.new)
        diff_models(str(old), str(new), str(self.update), verbose=False)
        return self.update.stat().st_size

    def restore(self) -> None:
        """See ``Way``: what it restores is a database; its own check of it is left out."""
        from reminis.diff import apply_delta

        made = str(self.folder / "restored.db")
        apply_delta(
            str(self._database(self.old)), str(self.update), made, verify=False, verbose=False
        )

    def restored(self) -> Path:
        """See ``Way``."""
        from reminis.safetensors_io import sqlite_to_safetensors

        sqlite_to_safetensors(str(self.folder / "restored.db"), str(self.out), verbose=False)
        return self.out

    def _database(self, path: Path) -> Path:
        return self.folder / f"{path.stem}.db"


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
