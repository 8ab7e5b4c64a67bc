"""Find out what a checkpoint is, and open it, or say whether it is the one that it was."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit
from urllib.request import url2pathname

from tvbank.checkpoint._checkpoint import Checkpoint
from tvbank.checkpoint._files import (
    SAFETENSORS_INDEX,
    TORCH_INDEX,
    checkpoint_in,
    regular_file_size,
    unreadable,
)
from tvbank.checkpoint._gguf_file import GgufCheckpoint
from tvbank.checkpoint._safetensors_file import SafetensorsCheckpoint
from tvbank.checkpoint._sharded_folder import open_sharded, parse_index, read_index
from tvbank.checkpoint._state_dict import StateDictCheckpoint, is_torch_module, open_module
from tvbank.checkpoint._torch_file import TORCH_SUFFIXES, open_torch_file
from tvbank.checkpoint._url import identify_url, open_url, url_files
from tvbank.errors import CheckpointError, UsageError
from tvbank.storage import is_url

if TYPE_CHECKING:
    import torch

__all__ = [
    "CheckpointSource",
    "borrow_checkpoint",
    "checkpoint_file",
    "checkpoint_files",
    "file_facts",
    "identify_checkpoint",
    "open_checkpoint",
    "place_of",
]

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
            - the path of a ``.safetensors`` file, of a ``.bin``, ``.pt``, ``.pth`` or ``.ckpt``
              file that ``torch.save`` wrote, of a ``.gguf`` file that is not quantised, or of an
              index of shards
              (``*.safetensors.index.json``, ``*.bin.index.json``);
            - the path of a folder that holds one of these (see ``_files.checkpoint_in``);
            - the URL, wherever a bank can live, of a ``.safetensors`` file, an index of such, or a
              folder with either under its usual name; only ranges of it are read.

    Returns:
        A checkpoint that the caller closes, or uses in a ``with`` statement. It reads the weights
        of a state dict where they are: if they change before they are read, the changed weights are
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
    if isinstance(source, str | os.PathLike):
        place = place_of(source)
        return open_url(place) if isinstance(place, str) else _open_path(place)
    if is_torch_module(source):
        return open_module(source)
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


def identify_checkpoint(source: str | os.PathLike[str]) -> str:
    """A digest that changes whenever a checkpoint's files or objects are written anew.

    It is made without reading weights: of files from path, size and time of the last change; of
    objects from URL, size and the store's tag. An index adds those of all its shards.

    Args:
        source: path or URL, as ``open_checkpoint`` takes them.

    Raises:
        CheckpointError: there is no checkpoint.
        StorageError: the store of a URL refused.
    """
    place = place_of(source)
    facts = identify_url(place) if isinstance(place, str) else _identify_path(place)
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def place_of(source: str | os.PathLike[str]) -> Path | str:
    """A path on this machine, or a URL of another place; ``file://`` names a path."""
    text = os.fspath(source)
    if text.lower().startswith("file://"):
        return Path(url2pathname(urlsplit(text).path))
    return text if is_url(text) else Path(text)


def checkpoint_file(path: Path) -> Path:
    """The file or index of a checkpoint at a path, which may be that of its folder.

    Raises:
        CheckpointError: nothing is there, or a folder without a checkpoint or with several.
    """
    try:
        path.stat()
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    return checkpoint_in(path) if path.is_dir() else path


def _open_path(path: Path) -> Checkpoint:
    path = checkpoint_file(path)
    regular_file_size(path)
    name = path.name.lower()
    if name.endswith(".safetensors"):
        return SafetensorsCheckpoint(path)
    if name.endswith(SAFETENSORS_INDEX):
        return open_sharded(path, SafetensorsCheckpoint)
    if name.endswith(TORCH_SUFFIXES):
        return open_torch_file(path)
    if name.endswith(".gguf"):
        return GgufCheckpoint(path)
    if name.endswith(TORCH_INDEX):
        return open_sharded(path, open_torch_file, copies_ties=True)
    raise CheckpointError(
        f"{str(path)!r} is not a checkpoint of a known kind (.safetensors, "
        f"{', '.join(TORCH_SUFFIXES)}, .gguf, or an index of shards); convert it to safetensors"
    )


def checkpoint_files(source: CheckpointSource) -> list[Path]:
    """The files of this machine that a checkpoint is read from; none of what is in memory.

    Of an index: that, and its shards. Of a URL: those of a store that is a folder.

    Raises:
        CheckpointError, UsageError, StorageError: as ``open_checkpoint``.
    """
    named = source.source if isinstance(source, Checkpoint) else source
    if not isinstance(named, str | os.PathLike):
        return []
    place = place_of(named)
    if isinstance(place, str):
        return url_files(place)
    if isinstance(source, Checkpoint) and not os.path.exists(place):  # words: "the state dict"
        return []
    return _files_of(checkpoint_file(place))


def _files_of(path: Path) -> list[Path]:
    """A checkpoint's file; of an index, the shards too."""
    files = [path]
    if path.name.lower().endswith((SAFETENSORS_INDEX, TORCH_INDEX)):
        shards = set(parse_index(str(path), read_index(path)).values())
        files += [path.parent / shard for shard in sorted(shards)]
    return files


def _identify_path(path: Path) -> list[tuple[str, int, str]]:
    return file_facts(_files_of(checkpoint_file(path)))


def file_facts(files: Iterable[Path]) -> list[tuple[str, int, str]]:
    """Path, size and time of the last change of each file, which change when it is written anew.

    Raises:
        CheckpointError: one is missing or no file.
    """
    facts = []
    for file in files:
        size = regular_file_size(file)
        try:
            facts.append((str(file.absolute()), size, str(file.stat().st_mtime_ns)))
        except OSError as error:  # it was there a moment ago
            raise unreadable(file, error) from error
    return facts
