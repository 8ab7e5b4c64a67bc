"""Find out what a checkpoint is, and open it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit
from urllib.request import url2pathname

from tvbank.checkpoint._checkpoint import Checkpoint
from tvbank.checkpoint._files import regular_file_size, unreadable
from tvbank.checkpoint._folder import SAFETENSORS_INDEX, TORCH_INDEX, checkpoint_in
from tvbank.checkpoint._safetensors import SafetensorsCheckpoint
from tvbank.checkpoint._shards import ShardedCheckpoint, open_listed, read_index
from tvbank.checkpoint._state_dict import StateDictCheckpoint
from tvbank.checkpoint._torch_file import TORCH_SUFFIXES, open_torch_file
from tvbank.checkpoint._torch_tensor import is_torch_module
from tvbank.errors import CheckpointError, UsageError

if TYPE_CHECKING:
    import torch

__all__ = ["CheckpointSource", "borrow_checkpoint", "open_checkpoint"]

CheckpointSource: TypeAlias = (
    "Checkpoint | Mapping[str, Any] | torch.nn.Module | str | os.PathLike[str]"
)


def open_checkpoint(source: CheckpointSource) -> Checkpoint:
    """Open whatever holds a model's weights.

    Args:
        source: one of

            - a ``Checkpoint``, returned as is;
            - a state dict: name -> ``torch.Tensor`` or ``numpy.ndarray``;
            - a ``torch.nn.Module``: its state dict;
            - the path of a ``.safetensors`` file, of a ``.bin``, ``.pt`` or ``.pth`` file that
              ``torch.save`` wrote, or of an index of shards (``*.safetensors.index.json``,
              ``*.bin.index.json``);
            - the path of a folder that holds one of these (see ``_folder.checkpoint_in``);
            - the URL, wherever a bank can live, of a ``.safetensors`` file, an index of such, or a
              folder with either under its usual name; only ranges of it are read.

    Returns:
        A checkpoint that the caller closes, or uses in a ``with`` statement. It reads the weights
        of a state dict where they are: what changes them before they are read, changes what is
        read.

    Raises:
        CheckpointError: missing, truncated, unsafe to load or not of a known kind.
        UsageError: an argument of another type, or a URL that holds credentials.
        StorageError: the store of a URL refused.
    """
    if isinstance(source, Checkpoint):
        return source
    if isinstance(source, Mapping):
        return StateDictCheckpoint(source, "the state dict")
    if isinstance(source, str) and "://" in source:
        return _open_url(source)
    if isinstance(source, str | os.PathLike):
        return _open_path(Path(source))
    if is_torch_module(source):
        return StateDictCheckpoint(source.state_dict(), f"the module {type(source).__name__}")
    raise UsageError(
        "a checkpoint is a path, a state dict, a torch module or a Checkpoint, not a "
        f"{type(source).__name__}"
    )


@contextmanager
def borrow_checkpoint(source: CheckpointSource) -> Iterator[Checkpoint]:
    """Open a checkpoint for the length of a ``with`` block.

    A ``Checkpoint`` that the caller opened stays open; any other source is closed at the end.
    """
    checkpoint = open_checkpoint(source)
    try:
        yield checkpoint
    finally:
        if checkpoint is not source:
            checkpoint.close()


def _open_path(path: Path) -> Checkpoint:
    try:
        path.stat()
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if path.is_dir():
        path = checkpoint_in(path)
    regular_file_size(path)
    name = path.name.lower()
    if name.endswith(".safetensors"):
        return SafetensorsCheckpoint(path)
    if name.endswith(SAFETENSORS_INDEX):
        return _open_shards(path, SafetensorsCheckpoint)
    if name.endswith(TORCH_SUFFIXES):
        return open_torch_file(path)
    if name.endswith(TORCH_INDEX):
        return _open_shards(path, open_torch_file)
    raise CheckpointError(
        f"{str(path)!r} is not a checkpoint of a known kind (.safetensors, "
        f"{', '.join(TORCH_SUFFIXES)}, or an index of shards); convert it to safetensors"
    )


def _open_shards(index: Path, open_shard: Callable[[Path], Checkpoint]) -> Checkpoint:
    def open_one(file: str) -> Checkpoint:
        return open_listed(index, file, open_shard)

    return ShardedCheckpoint(str(index), read_index(index), open_one)


def _open_url(url: str) -> Checkpoint:
    if url.lower().startswith("file://"):
        return _open_path(Path(url2pathname(urlsplit(url).path)))
    from tvbank.checkpoint._remote import open_remote  # stores, which no path needs

    return open_remote(url)
