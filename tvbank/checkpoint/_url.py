"""Checkpoints under a URL: safetensors files, and indices of them, of which only ranges are read.

Any store that a bank can live in will do (``tvbank.storage``). Opening a file reads its length and
its header; a tensor is one range, and tensors that are expected together take few requests.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from tvbank._json import MAX_JSON_BYTES
from tvbank.checkpoint._checkpoint import Checkpoint, TensorSpec
from tvbank.checkpoint._files import SAFETENSORS_INDEX
from tvbank.checkpoint._safetensors_file import read_header
from tvbank.checkpoint._sharded_folder import ShardedCheckpoint, parse_index
from tvbank.dtypes import DTYPES
from tvbank.errors import CheckpointError, UnitNotFoundError, UsageError
from tvbank.storage import (
    ObjectNotFoundError,
    Storage,
    open_storage,
    refuse_credentials,
    split_url,
)

__all__ = ["identify_url", "open_url", "url_files"]

#: Bytes of a file's beginning that the first request takes: most headers are shorter.
_HEAD = 2**16

#: Where the tensors of an object lie: by name, what each is and its first byte.
_Placed = Mapping[str, tuple[TensorSpec, int]]
#: Headers of the objects opened last, by URL, size and tag: that a checkpoint is no adapter and no
#: artefact is seen in the same header that is read from then on.
_HEADERS: dict[tuple[str, int, str], _Placed] = {}
_MOST_HEADERS = 8

#: Names that are tried under a folder's URL, in this order: a listing would cost more.
_USUAL = ("model.safetensors", f"model{SAFETENSORS_INDEX}")


def open_url(url: str) -> Checkpoint:
    """Open the checkpoint under a URL; see ``open_checkpoint``.

    Raises:
        CheckpointError: nothing is there, or no sound safetensors file or index of them.
        UsageError: no URL of a store, or one that holds credentials.
        StorageError: the store refused.
    """
    storage, name = _locate(url)
    if not name.lower().endswith(SAFETENSORS_INDEX):
        return RemoteCheckpoint(storage, name)

    def open_shard(file: str) -> Checkpoint:
        return RemoteCheckpoint(storage, file)

    return ShardedCheckpoint(
        f"{storage.location}/{name}", _read_index(storage, name, _identify(storage, name)[0]),
        open_shard,
    )  # fmt: skip


def identify_url(url: str) -> list[tuple[str, int, str]]:
    """URL, size and the store's tag of a checkpoint's object; of an index, of its shards too.

    Raises:
        CheckpointError, UsageError, StorageError: as ``open_url``.
    """
    storage, name = _locate(url)
    facts = [(f"{storage.location}/{name}", *_identify(storage, name))]
    if name.lower().endswith(SAFETENSORS_INDEX):
        index = _read_index(storage, name, facts[0][1])
        shards = set(parse_index(f"{storage.location}/{name}", index).values())
        facts += [(shard, *_identify(storage, shard)) for shard in sorted(shards)]
    return facts


def url_files(url: str) -> list[Path]:
    """The files of this machine that hold a checkpoint's objects: see ``checkpoint_files``.

    Raises:
        CheckpointError, UsageError, StorageError: as ``open_url``.
    """
    storage, name = _locate(url)
    if storage.local_path(name) is None:
        return []
    names = [name]
    if name.lower().endswith(SAFETENSORS_INDEX):
        names += sorted(set(parse_index(url, storage.get(name, MAX_JSON_BYTES)).values()))
    return [path for one in names if (path := storage.local_path(one)) is not None]


def _read_index(storage: Storage, name: str, size: int) -> bytes:
    if size > MAX_JSON_BYTES:
        raise CheckpointError(
            f"'{storage.location}/{name}' is over {MAX_JSON_BYTES} bytes, as no index is"
        )
    return storage.get(name, size)


def _locate(url: str) -> tuple[Storage, str]:
    """The store of a URL's folder, and the name of the checkpoint's file or index in it.

    Raises:
        CheckpointError: the URL of a folder without a checkpoint of a usual name, or of a kind of
            checkpoint that is not read by range.
        UsageError: no URL of a store, or one that holds credentials.
        StorageError: the store refused.
    """
    place = refuse_credentials(url)
    folder, name = split_url(place)
    if name.lower().endswith((".safetensors", SAFETENSORS_INDEX)):
        if folder.endswith((":/", ":")) or "://" not in folder:
            raise UsageError(
                f"{place} names no file in a store: give one such as s3://bucket/{name}"
            )
        return open_storage(folder), name
    if "." in name and name.lower().endswith((".bin", ".pt", ".pth", ".json", ".ckpt", ".gguf")):
        raise CheckpointError(
            f"{place!r} is no safetensors file, and only those are read from a URL: convert it, or "
            "fetch it and give its path"
        )
    storage = open_storage(place)
    for usual in _USUAL:
        try:
            storage.identify(usual)
        except ObjectNotFoundError:
            continue
        return storage, usual
    raise CheckpointError(
        f"{place!r} has no {' and no '.join(_USUAL)}; name the checkpoint's file itself"
    )


@final
class RemoteCheckpoint(Checkpoint):
    """One safetensors file in a store."""

    def __init__(self, storage: Storage, name: str) -> None:
        """Read the file's header.

        Raises:
            CheckpointError: the file is missing or not sound.
            StorageError: the store refused.
        """
        self._storage, self._name = storage, name
        source = f"{storage.location}/{name}"
        self._placed = _find_placed(storage, name, source)
        self._held: dict[str, bytes] = {}
        super().__init__(source, {name: spec for name, (spec, _) in self._placed.items()}, {})

    def expect(self, names: Iterable[str]) -> None:
        """See ``Checkpoint.expect``: neighbours in one request, other requests at the same time."""
        wanted = list(dict.fromkeys(names))
        unknown = [name for name in wanted if name not in self._placed]
        if unknown:
            raise UnitNotFoundError(f"{self.source} has no tensor {unknown[0]!r}")
        self._held.update(zip(wanted, self._fetch(wanted), strict=True))

    def _read(self, spec: TensorSpec) -> np.ndarray[Any, np.dtype[Any]]:
        data = self._held.pop(spec.name, None)
        if data is None:
            [data] = self._fetch([spec.name])
        return np.frombuffer(data, DTYPES[spec.dtype]).reshape(spec.shape)

    def _fetch(self, names: list[str]) -> list[bytes]:
        ranges = []
        for name in names:
            spec, position = self._placed[name]
            ranges.append((position, position + spec.nbytes))
        try:
            parts = self._storage.get_ranges(self._name, ranges)
        except ObjectNotFoundError as error:
            raise _missing(self.source) from error
        for name, part, (start, stop) in zip(names, parts, ranges, strict=True):
            if len(part) != stop - start:
                raise CheckpointError(
                    f"{self.source!r} became shorter while tensor {name!r} was read; leave it "
                    "alone meanwhile"
                )
        return parts

    def _close(self) -> None:
        self._held.clear()


def _identify(storage: Storage, name: str) -> tuple[int, str]:
    try:
        return storage.identify(name)
    except ObjectNotFoundError as error:
        raise _missing(f"{storage.location}/{name}") from error


def _missing(source: str) -> CheckpointError:
    return CheckpointError(f"{source!r}: there is no such object; check the URL")


def _find_placed(storage: Storage, name: str, source: str) -> _Placed:
    """Where each tensor lies; an object that is what it was is not read again."""
    identity = (source, *_identify(storage, name))
    placed = _HEADERS.pop(identity, None) or _read_placed(storage, name, identity[1], source)
    _HEADERS[identity] = placed  # the last one now
    for oldest in list(_HEADERS)[:-_MOST_HEADERS]:
        _HEADERS.pop(oldest, None)
    return placed


def _read_placed(storage: Storage, name: str, size: int, source: str) -> _Placed:
    """Where each tensor lies.

    The header is checked as that of a file is: in a file of the same length, otherwise a hole.
    """
    [head] = storage.get_ranges(name, [(0, min(size, _HEAD))])
    stop = 8 + min(int.from_bytes(head[:8], "little"), MAX_JSON_BYTES, max(size - 8, 0))
    if stop > len(head) and head[8:9] == b"{":
        head += storage.get_ranges(name, [(len(head), stop)])[0]
    with tempfile.TemporaryDirectory(prefix="tvbank-") as folder:
        path = Path(folder, "model.safetensors")
        try:
            with path.open("w+b") as file:
                file.write(head[:stop])
                file.truncate(size)
                file.seek(0)
                return read_header(path, file, size, source)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise CheckpointError(
                f"{source!r} has {size} bytes, and no temporary file of that length can be made "
                f"({why}): set TMPDIR to a disk that can have holes in files"
            ) from error
