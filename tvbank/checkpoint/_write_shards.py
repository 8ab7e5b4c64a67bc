"""Write a checkpoint as Hugging Face's libraries do: one file, or shards and their index."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, final

import numpy as np

from tvbank._atomic import replace_file
from tvbank.checkpoint._checkpoint import TensorSpec
from tvbank.checkpoint._files import SAFETENSORS_INDEX
from tvbank.checkpoint._write_safetensors import aligned_order, write_safetensors

__all__ = ["Shards", "plan_shards"]


@final
@dataclass(frozen=True)
class Shards:
    """Which tensors go into which file of a folder.

    Attributes:
        stem: of the files' names, such as ``model``.
        files: name of each file -> its tensors, in the order in which they are written.
    """

    stem: str
    files: dict[str, list[TensorSpec]]

    @property
    def last(self) -> str:
        """Name of the file by which the folder is found: the only one, or the index."""
        only = list(self.files)
        return only[0] if len(only) == 1 else f"{self.stem}{SAFETENSORS_INDEX}"

    @property
    def order(self) -> list[TensorSpec]:
        """All tensors, in the order in which ``write`` takes them."""
        return [spec for specs in self.files.values() for spec in specs]

    def write(self, folder: Path, tensors: Iterable[np.ndarray[Any, Any]]) -> None:
        """Write the files, and an index if they are several.

        Args:
            folder: where; it exists.
            tensors: in the order of ``order``; asked for one by one.

        Raises:
            UsageError: arrays that differ from the specs.
            StorageError: the disk is full or read-only.
        """
        arrays: Iterator[np.ndarray[Any, Any]] = iter(tensors)
        for file, specs in self.files.items():
            write_safetensors(folder / file, specs, islice(arrays, len(specs)))
        if len(self.files) > 1:
            replace_file(folder / self.last, self._index())

    def _index(self) -> bytes:
        total = sum(spec.nbytes for spec in self.order)
        placed = {spec.name: file for file, specs in self.files.items() for spec in specs}
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(placed.items()))}
        return (json.dumps(index, indent=2, ensure_ascii=False) + "\n").encode()


def plan_shards(specs: Sequence[TensorSpec], most: int, stem: str = "model") -> Shards:
    """Divide tensors, in order, among files of at most so many bytes; a larger one stands alone.

    Args:
        specs: what the tensors are.
        most: bytes of tensors in one file.
        stem: of the files' names: ``<stem>.safetensors``, or ``<stem>-00001-of-00002.safetensors``.
    """
    groups: list[list[TensorSpec]] = [[]]
    size = 0
    for spec in specs:
        if groups[-1] and size + spec.nbytes > most:
            groups.append([])
            size = 0
        groups[-1].append(spec)
        size += spec.nbytes
    if len(groups) == 1:
        return Shards(stem, {f"{stem}.safetensors": aligned_order(groups[0])})
    count = len(groups)
    names = (f"{stem}-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1))
    return Shards(stem, dict(zip(names, map(aligned_order, groups), strict=True)))
