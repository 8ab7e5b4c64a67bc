"""Checkpoints sharded the Hugging Face way: an index, and the files that it names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, final

import numpy as np

from tvbank._json import MAX_JSON_BYTES, parse_json
from tvbank.checkpoint._checkpoint import Checkpoint, TensorSpec
from tvbank.checkpoint._files import regular_file_size, unreadable
from tvbank.checkpoint._ties import untold_ties
from tvbank.errors import CheckpointError, UnitNotFoundError

__all__ = ["ShardedCheckpoint", "open_sharded", "parse_index", "read_index", "read_weight_map"]


@final
class ShardedCheckpoint(Checkpoint):
    """The tensors of all shards of an index, shard after shard. Every shard stays open."""

    def __init__(
        self,
        index: str,
        content: bytes,
        open_shard: Callable[[str], Checkpoint],
        *,
        copies_ties: bool = False,
    ) -> None:
        """Open every shard, and check that index and shards agree on every tensor.

        Args:
            index: path or URL of the index, ``*.index.json``; its shards lie in its folder.
            content: of the index.
            open_shard: opens a shard by its file name, as a file of the index's own kind.
            copies_ties: whether what is tied may lie in two shards, once in each: pickles know
                only their own ties. Such matrices are read now.

        Raises:
            CheckpointError: no valid index, a shard that is missing, damaged or outside the folder,
                a tensor that is missing, in two shards, or in another shard than the index says.
        """
        self._placed = parse_index(index, content)
        self._shards: dict[str, Checkpoint] = {}
        tensors: dict[str, TensorSpec] = {}
        tied: dict[str, str] = {}
        holders: dict[str, str] = {}
        with ExitStack() as opened:
            for file in sorted(set(self._placed.values())):
                shard = opened.enter_context(open_shard(file))
                self._shards[file] = shard
                for name in (*shard.tensors, *shard.tied):
                    if name in holders:
                        raise CheckpointError(
                            f"tensor {name!r} is in two shards of {index!r}, {holders[name]!r} and "
                            f"{file!r}; delete the one that does not belong to it"
                        )
                    if name not in self._placed:
                        raise CheckpointError(
                            f"the shard {file!r} holds tensor {name!r}, which {index!r} does not "
                            "list; fetch index and shards of the same version"
                        )
                    holders[name] = file
                tensors.update(shard.tensors)
                tied.update(shard.tied)
            for name, file in self._placed.items():
                if holders.get(name) != file:
                    raise CheckpointError(
                        f"{index!r} says that tensor {name!r} is in the shard {file!r}, which "
                        "lacks it; fetch index and shards of the same version"
                    )
            if copies_ties:
                across = untold_ties(
                    tensors.values(),
                    lambda one, other: holders[one] != holders[other],
                    lambda name: self._shards[holders[name]].read(name),
                )
                tied = {alias: across.get(owner, owner) for alias, owner in tied.items()}
                tied |= across
                tensors = {name: spec for name, spec in tensors.items() if name not in across}
            self._files = opened.pop_all()
        super().__init__(index, tensors, tied)

    def expect(self, names: Iterable[str]) -> None:
        """See ``Checkpoint.expect``."""
        expected: dict[str, list[str]] = {}
        for name in names:
            if name not in self._placed:
                raise UnitNotFoundError(f"{self.source} has no tensor {name!r}")
            owner = self.tied.get(name, name)
            expected.setdefault(self._placed[owner], []).append(owner)
        for file, wanted in expected.items():
            self._shards[file].expect(wanted)

    def _read(self, spec: TensorSpec) -> np.ndarray[Any, np.dtype[Any]]:
        return self._shards[self._placed[spec.name]].read(spec.name)

    def _close(self) -> None:
        self._files.close()


def open_sharded(
    index: Path, open_shard: Callable[[Path], Checkpoint], *, copies_ties: bool = False
) -> ShardedCheckpoint:
    """Open an index on this machine, and the shards that it lists.

    Raises:
        CheckpointError: as ``ShardedCheckpoint``.
    """

    def open_listed(file: str) -> Checkpoint:
        path = index.parent / file
        if not os.path.exists(path):
            raise CheckpointError(
                f"the shard {file!r} that {str(index)!r} lists is missing; fetch the rest of the "
                "checkpoint"
            )
        return open_shard(path)

    content = read_index(index)
    return ShardedCheckpoint(str(index), content, open_listed, copies_ties=copies_ties)


def read_index(index: Path) -> bytes:
    """The content of an index on this machine.

    Raises:
        CheckpointError: missing, not readable, or larger than any index.
    """
    if regular_file_size(index) > MAX_JSON_BYTES:
        raise CheckpointError(
            f"{str(index)!r} is over {MAX_JSON_BYTES} bytes, as no index is; fetch it again"
        )
    try:
        return index.read_bytes()
    except OSError as error:
        raise unreadable(index, error) from error


def read_weight_map(index: Path) -> dict[str, str]:
    """Which tensor lies in which file of an index's folder.

    Raises:
        CheckpointError: no valid index, or a shard outside its folder.
    """
    return parse_index(str(index), read_index(index))


def parse_index(index: str, text: bytes) -> dict[str, str]:
    """An index's ``weight_map``: tensor -> its shard's file name, checked to lie in its folder.

    Raises:
        CheckpointError: no valid index, or a shard outside its folder.
    """
    try:
        content = parse_json(text)
    except ValueError as error:
        raise CheckpointError(f"{index!r} is no valid index ({error}); fetch it again") from error
    placed = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(placed, dict) or not all(isinstance(file, str) for file in placed.values()):
        raise CheckpointError(f"{index!r} has no weight_map from tensors to files; fetch it again")
    for file in set(placed.values()):
        if not _is_inside(file):
            raise CheckpointError(
                f"{index!r} names the shard {file!r}, which is outside its folder; do not "
                "trust this checkpoint"
            )
    return placed


def _is_inside(file: str) -> bool:
    """Whether a shard's name is a plain relative path on every system.

    Links are followed: download caches keep a model's files as links to a common store.
    """
    windows = PureWindowsPath(file)  # understands both separators, and drives
    return (
        file.isprintable()
        and PurePosixPath(file).name != ""
        and not windows.drive
        and not windows.root
        and ".." not in windows.parts
    )
