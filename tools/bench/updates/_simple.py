"""What needs no package for updates: zstd of the difference of raw bytes, and TRL's sparse layout.

The ways with zstd are given more than their users have: a large tensor is cut into pieces, so that
two threads always have something to do. None of them proves what it restores.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tools.bench.updates._way import THREADS, Piece, Way, pair_of

_SIZE = struct.Struct("<Q")


class Xor(Way):
    """Old XOR new, a zstd frame a piece: what slime, vime and ModelExpress publish."""

    label = "XOR + zstd-1"
    level: ClassVar[int] = 1

    def encode(self) -> int:
        """See ``Way``."""
        before, after = pair_of(self.old, self.new)

        def work(piece: Piece) -> list[bytes]:
            part = slice(piece.begin, piece.end)
            return self._pack(before.data[part] ^ after.data[part], piece.width)

        with ThreadPoolExecutor(THREADS) as pool, self.update.open("wb") as file:
            file.write(_SIZE.pack(len(after.header)) + after.header)
            for frames in pool.map(work, after.pieces()):
                for frame in frames:
                    file.write(_SIZE.pack(len(frame)) + frame)
        return self.update.stat().st_size

    def restore(self) -> None:
        """See ``Way``."""
        before, _ = pair_of(self.old, self.old)
        with self.update.open("rb") as stored:
            header = stored.read(_SIZE.unpack(stored.read(_SIZE.size))[0])

            def jobs() -> Iterator[tuple[Piece, list[bytes]]]:
                for piece in before.pieces():
                    count = self._frames(piece.width)
                    sizes = (_SIZE.unpack(stored.read(_SIZE.size))[0] for _ in range(count))
                    yield piece, [stored.read(size) for size in sizes]

            def work(job: tuple[Piece, list[bytes]]) -> NDArray[np.uint8]:
                piece, frames = job
                difference = self._unpack(frames, piece.width)
                return difference ^ before.data[piece.begin : piece.end]

            with ThreadPoolExecutor(THREADS) as pool, self.out.open("wb") as file:
                file.write(header)
                for part in pool.map(work, jobs()):
                    file.write(part)

    def _frames(self, width: int) -> int:
        return 1

    def _pack(self, difference: NDArray[np.uint8], width: int) -> list[bytes]:
        return [_compress(difference, self.level)]

    def _unpack(self, frames: list[bytes], width: int) -> NDArray[np.uint8]:
        return _decompress(frames[0])


class Xor19(Xor):
    """The same at the highest level that needs no more memory to decode."""

    label = "XOR + zstd-19"
    level = 19


class Planes(Xor):
    """Old XOR new, first bytes of all entries together, then second ones; a frame a plane."""

    label = "byte planes of XOR + zstd-1"

    def _frames(self, width: int) -> int:
        return width

    def _pack(self, difference: NDArray[np.uint8], width: int) -> list[bytes]:
        planes = difference.reshape(-1, width).T
        return [_compress(np.ascontiguousarray(plane), self.level) for plane in planes]

    def _unpack(self, frames: list[bytes], width: int) -> NDArray[np.uint8]:
        return np.stack([_decompress(frame) for frame in frames], axis=1).reshape(-1)


class Sparse(Way):
    """Positions, int32, and new values of what changed, as TRL lays them out."""

    label = "TRL's sparse layout"

    def encode(self) -> int:
        """See ``Way``."""
        import torch
        from safetensors.torch import load_file, save_file

        old, new = load_file(self.old), load_file(self.new)
        parts = {}
        for name, values in new.items():
            bits = _words(values) != _words(old[name])
            if len(places := bits.flatten().nonzero()[:, 0]):
                parts[f"{name}.indices"] = places.to(torch.int32)
                parts[f"{name}.values"] = values.flatten()[places]
        save_file(parts, self.update)
        return self.update.stat().st_size

    def restore(self) -> None:
        """See ``Way``."""
        from safetensors.torch import load_file, save_file

        state, parts = load_file(self.old), load_file(self.update)
        for name, tensor in state.items():
            if f"{name}.indices" in parts:
                places = parts[f"{name}.indices"].long()
                tensor.view(-1)[places] = parts[f"{name}.values"]
        save_file(state, self.out, {"format": "pt"})


def _words(tensor):
    import torch

    kinds = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.contiguous().view(kinds[tensor.element_size()])


def _compress(array: NDArray[np.uint8], level: int) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor(level).compress(array.data)


def _decompress(frame: bytes) -> NDArray[np.uint8]:
    import zstandard

    return np.frombuffer(zstandard.ZstdDecompressor().decompress(frame), np.uint8)
