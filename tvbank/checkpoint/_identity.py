"""Telling whether a checkpoint is the one it was, without reading its weights."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from tvbank.checkpoint._files import regular_file_size, unreadable
from tvbank.checkpoint._folder import SAFETENSORS_INDEX, TORCH_INDEX, checkpoint_in
from tvbank.checkpoint._remote import locate
from tvbank.checkpoint._shards import parse_index, read_index
from tvbank.errors import CheckpointError
from tvbank.storage import ObjectNotFoundError

__all__ = ["identify_checkpoint"]


def identify_checkpoint(source: str | os.PathLike[str]) -> str:
    """A digest that changes whenever a checkpoint's files or objects are written anew.

    Of files: path, size and time of the last change; of objects: URL, size and the store's tag. Of
    indices, those of all their shards too.

    Args:
        source: path or URL, as ``open_checkpoint`` takes them.

    Raises:
        CheckpointError: there is no checkpoint.
        StorageError: the store of a URL refused.
    """
    text = os.fspath(source)
    if text.lower().startswith("file://"):
        text = url2pathname(urlsplit(text).path)
    facts = _of_url(text) if "://" in text else _of_path(Path(text))
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _of_path(path: Path) -> list[tuple[str, int, str]]:
    try:
        is_folder = path.stat() is not None and path.is_dir()
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    path = checkpoint_in(path) if is_folder else path
    facts = [_of_file(path)]
    if path.name.lower().endswith((SAFETENSORS_INDEX, TORCH_INDEX)):
        shards = set(parse_index(str(path), read_index(path)).values())
        facts += [_of_file(path.parent / shard) for shard in sorted(shards)]
    return facts


def _of_file(path: Path) -> tuple[str, int, str]:
    return str(path.absolute()), regular_file_size(path), str(path.stat().st_mtime_ns)


def _of_url(url: str) -> list[tuple[str, int, str]]:
    storage, name = locate(url)
    try:
        facts = [(f"{storage.location}/{name}", *storage.identify(name))]
        if name.lower().endswith(SAFETENSORS_INDEX):
            shards = set(parse_index(url, storage.get(name, facts[0][1])).values())
            facts += [(shard, *storage.identify(shard)) for shard in sorted(shards)]
    except ObjectNotFoundError as error:
        raise CheckpointError(f"{url!r}: there is no such object; check the URL") from error
    return facts
