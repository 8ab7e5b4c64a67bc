"""Checkpoints sharded the Hugging Face way: an index, and the files that it names."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, final

import numpy as np

from tvbank.checkpoint._checkpoint import Checkpoint
from tvbank.checkpoint._files import regular_file_size, unreadable
from tvbank.checkpoint._json import MAX_JSON_BYTES, parse_json
from tvbank.checkpoint._spec import TensorSpec
from tvbank.errors import CheckpointError

__all__ = ["ShardedCheckpoint"]


@final
class ShardedCheckpoint(Checkpoint):
    """The tensors of all shards of an index, shard after shard. Every shard stays open."""

    def __init__(self, index: Path, open_shard: Callable[[Path], Checkpoint]) -> None:
        """Open every shard, and check that index and shards agree on every tensor.

        Args:
            index: the index, ``*.index.json``; its shards lie in its folder.
            open_shard: opens one shard, as the kind that the index is of and no other.

        Raises:
            CheckpointError: no valid index, a shard that is missing, damaged or outside the folder,
                a tensor that is missing, in two shards, or in another shard than the index says.
        """
        self._placed = _read_index(index)
        self._shards: dict[str, Checkpoint] = {}
        tensors: dict[str, TensorSpec] = {}
        tied: dict[str, str] = {}
        found: dict[str, str] = {}
        with ExitStack() as opened:
            for file in sorted(set(self._placed.values())):
                shard = opened.enter_context(_open_listed(index, file, open_shard))
                self._shards[file] = shard
                for name in (*shard.tensors, *shard.tied):
                    _check_place(index, self._placed, name, file, found)
                    found[name] = file
                tensors.update(shard.tensors)
                tied.update(shard.tied)
            _check_complete(index, self._placed, found)
            self._files = opened.pop_all()
        super().__init__(str(index), tensors, tied)

    def _read(self, spec: TensorSpec) -> np.ndarray[Any, np.dtype[Any]]:
        return self._shards[self._placed[spec.name]].read(spec.name)

    def _close(self) -> None:
        self._files.close()


def _read_index(index: Path) -> dict[str, str]:
    """The index's ``weight_map``: tensor -> its shard's file name, checked to lie in the folder."""
    if regular_file_size(index) > MAX_JSON_BYTES:
        raise CheckpointError(
            f"{str(index)!r} is over {MAX_JSON_BYTES} bytes, as no index is; fetch it again"
        )
    try:
        content = parse_json(index.read_bytes())
    except OSError as error:
        raise unreadable(index, error) from error
    except ValueError as error:
        raise CheckpointError(
            f"{str(index)!r} is no valid index ({error}); fetch it again"
        ) from error
    placed = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(placed, dict) or not all(isinstance(file, str) for file in placed.values()):
        raise CheckpointError(
            f"{str(index)!r} has no weight_map from tensors to files; fetch it again"
        )
    for file in set(placed.values()):
        if not _is_inside(file):
            raise CheckpointError(
                f"{str(index)!r} names the shard {file!r}, which is outside its folder; do not "
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


def _open_listed(index: Path, file: str, open_shard: Callable[[Path], Checkpoint]) -> Checkpoint:
    path = index.parent / file
    if not os.path.exists(path):
        raise CheckpointError(
            f"the shard {file!r} that {str(index)!r} lists is missing; fetch the rest of the "
            "checkpoint"
        )
    return open_shard(path)


def _check_place(
    index: Path, placed: Mapping[str, str], name: str, file: str, found: Mapping[str, str]
) -> None:
    if name in found:
        raise CheckpointError(
            f"tensor {name!r} is in two shards of {str(index)!r}, {found[name]!r} and {file!r}; "
            "delete the one that does not belong to it"
        )
    if name not in placed:
        raise CheckpointError(
            f"the shard {file!r} holds tensor {name!r}, which {str(index)!r} does not list; fetch "
            "index and shards of the same version"
        )


def _check_complete(index: Path, placed: Mapping[str, str], found: Mapping[str, str]) -> None:
    for name, file in placed.items():
        if found.get(name) != file:
            raise CheckpointError(
                f"{str(index)!r} says that tensor {name!r} is in the shard {file!r}, which lacks "
                "it; fetch index and shards of the same version"
            )
