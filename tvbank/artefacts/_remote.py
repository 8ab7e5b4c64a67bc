"""Artefacts under a URL: their files are fetched, and then looked at as any are.

What of a store is an artefact is told by names, headers and small documents alone. Safetensors
that are whole checkpoints or adapters are no artefacts: they are read by range where they are.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, final

from numpy.typing import NDArray

from tvbank._atomic import cannot_write
from tvbank._json import MAX_JSON_BYTES, parse_json
from tvbank.artefacts.deltazip import CONFIG as DELTAZIP
from tvbank.artefacts.hf_delta import INDEX
from tvbank.artefacts.sparse import INDICES, VALUES
from tvbank.artefacts.tswitch import SUFFIX as BITS
from tvbank.checkpoint import Checkpoint, TensorSpec, open_checkpoint, parse_index
from tvbank.errors import CheckpointError, StorageError, TvbankError, UsageError
from tvbank.storage import (
    ObjectNotFoundError,
    Storage,
    open_storage,
    refuse_credentials,
    split_url,
)

#: What others' files end in that are not read by range.
_WHOLE = (".pt", ".pth", ".bin", ".ckpt", ".npy", ".gguf", ".wdelta", ".zip")
_SAFETENSORS, _BESIDE = ".safetensors", (DELTAZIP, "delta_config.json")

#: Names that are tried in a folder whose store lists nothing, as web servers do.
_TRIED = (INDEX, *_BESIDE, "deltazip-compressed.safetensors", "model.safetensors")
#: Names of a folder that are looked at; and bytes of a file that are in memory.
_MOST_NAMES, _PIECE = 10_000, 2**26


@final
@dataclass(frozen=True)
class RemoteFiles:
    """The files of an artefact in a store.

    Attributes:
        url: as it was given, for messages.
        storage: holds them.
        names: in it.
        path: of the artefact below the store: a file's name, or empty for the folder.
        takes_before: whether it is an update, which may follow another.
        is_change: whether it is no whole model, as far as names and headers tell.
    """

    url: str
    storage: Storage
    names: Sequence[str]
    path: str
    takes_before: bool = False
    is_change: bool = True

    def identity(self) -> list[tuple[str, int, str]]:
        """Name, size and the store's tag of every file.

        Raises:
            CheckpointError: one is missing.
        """
        return [(f"{self.storage.location}/{name}", *self._identify(name)) for name in self.names]

    def fetch(self, folder: Path) -> Path:
        """Copy all files into a folder of this machine, below the names of their own folders.

        Returns:
            The path of the artefact.

        Raises:
            CheckpointError: a file is missing, or became shorter meanwhile.
            StorageError: the store or the disk refused.
        """
        parts = [part for part in self.storage.location.split("/") if part not in ("", ".", "..")]
        place = folder.joinpath(*parts[-2:]) if "://" not in parts[-1] else folder
        try:
            place.mkdir(parents=True, exist_ok=True)
            for name in self.names:
                self._copy(name, place / name)
        except OSError as error:
            raise cannot_write(place, error) from error
        return place / self.path if self.path else place

    def _copy(self, name: str, path: Path) -> None:
        size, _tag = self._identify(name)
        with path.open("wb") as file:
            for start in range(0, size, _PIECE):
                stop = min(start + _PIECE, size)
                [piece] = self.storage.get_ranges(name, [(start, stop)])
                if len(piece) != stop - start:
                    raise CheckpointError(
                        f"'{self.storage.location}/{name}' became shorter while it was fetched; "
                        "leave it alone meanwhile"
                    )
                file.write(piece)

    def _identify(self, name: str) -> tuple[int, str]:
        try:
            return self.storage.identify(name)
        except ObjectNotFoundError as error:
            raise CheckpointError(
                f"'{self.storage.location}/{name}': there is no such object; check the URL"
            ) from error


def find_remote(url: str) -> RemoteFiles | None:
    """The files of the artefact under a URL; None if it is none, or none that is known.

    Raises:
        UsageError: the URL holds credentials.
        StorageError: the store refused.
    """
    found = open_remote(url)
    if isinstance(found, Checkpoint):
        found.close()
        return None
    return found


def open_remote(url: str) -> RemoteFiles | Checkpoint | None:
    """The files of the artefact under a URL; or the checkpoint there, if its header was read.

    Returns:
        A checkpoint is the caller's to close. None says that neither was found: opening the URL as
        a checkpoint reads what is there, or says what is wrong.

    Raises:
        UsageError: the URL holds credentials.
        StorageError: the store refused.
    """
    place = refuse_credentials(url).rstrip("/")
    folder, name = split_url(place)
    if folder.endswith((":/", ":")) or "://" not in folder:
        return None  # opening it as a checkpoint says what is wrong
    lower = name.lower()
    if lower.endswith(_WHOLE):
        return RemoteFiles(place, open_storage(folder), (name,), name, is_change=False)
    if lower.endswith((_SAFETENSORS, ".json")):
        return _of_file(place, open_storage(folder), name)
    return _of_folder(place, open_storage(place))


def _of_file(url: str, storage: Storage, name: str) -> RemoteFiles | Checkpoint | None:
    if name == INDEX:
        return _of_index(url, storage, name)
    if not name.lower().endswith(_SAFETENSORS):
        return None
    try:
        checkpoint = open_checkpoint(url)
    except CheckpointError:
        return None  # opening it as a checkpoint says so again
    tensors = checkpoint.tensors
    if tensors and all(tensor.endswith((INDICES, VALUES)) for tensor in tensors):
        checkpoint.close()
        return RemoteFiles(url, storage, (name,), name, takes_before=True)
    if any(tensor.endswith(".qweight") for tensor in tensors):
        checkpoint.close()
        beside = [other for other in _BESIDE if _is_there(storage, other)]
        return RemoteFiles(url, storage, (name, *beside), name)
    return checkpoint


def _of_index(url: str, storage: Storage, path: str) -> RemoteFiles | None:
    """An index of differences of bytes; None of one of whole tensors, or that is not there."""
    try:
        text = storage.get(INDEX, MAX_JSON_BYTES)
    except ObjectNotFoundError:
        return None
    try:
        metadata = parse_json(text[: MAX_JSON_BYTES + 1]).get("metadata") or {}
    except (ValueError, AttributeError):
        return None  # opening it as a checkpoint says what is wrong
    if "delta_encoding" not in metadata:
        return None
    shards = sorted(set(parse_index(url, text).values()))
    return RemoteFiles(url, storage, (INDEX, *shards), path, takes_before=True)


def _of_folder(url: str, storage: Storage) -> RemoteFiles | None:
    names = _names_in(storage)
    if INDEX in names:
        return _of_index(url, storage, "")
    if "model.safetensors" in names:
        return None
    if DELTAZIP in names:
        chosen = [name for name in names if name in _BESIDE or name.endswith(_SAFETENSORS)]
        return RemoteFiles(url, storage, chosen, "")
    if bits := [name for name in names if name.endswith(BITS)]:
        return RemoteFiles(url, storage, bits, "")
    whole = [name for name in names if name.lower().endswith(_WHOLE)]
    return RemoteFiles(url, storage, whole, "", is_change=False) if len(whole) == 1 else None


def _names_in(storage: Storage) -> list[str]:
    """The names in a folder itself; where the store lists nothing, those of the usual ones."""
    try:
        listed = [each.key for each in islice(storage.list(), _MOST_NAMES)]
    except (StorageError, UsageError, NotImplementedError):
        return [name for name in _TRIED if _is_there(storage, name)]
    return sorted(key for key in listed if "/" not in key)


def _is_there(storage: Storage, name: str) -> bool:
    try:
        storage.identify(name)
    except ObjectNotFoundError:
        return False
    return True


@final
class FetchedCheckpoint(Checkpoint):
    """A checkpoint of files that were fetched, which go when it is closed."""

    def __init__(self, url: str, inner: Checkpoint, folder: Path) -> None:
        self._inner = inner
        self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        super().__init__(url, inner.tensors, inner.tied)

    def expect(self, names: Iterable[str]) -> None:
        """See ``Checkpoint.expect``."""
        self._inner.expect(names)

    def is_buffer(self, name: str) -> bool | None:
        """See ``Checkpoint.is_buffer``."""
        return self._inner.is_buffer(name)

    def _read(self, spec: TensorSpec) -> NDArray[Any]:
        return self._inner.read(spec.name)

    def _close(self) -> None:
        self._inner.close()
        self._remove()


@contextmanager
def fetched(remote: RemoteFiles) -> Iterator[tuple[Path, Path]]:
    """The path of an artefact on this machine, and the folder that goes if the block raises.

    Raises:
        CheckpointError, StorageError: see ``RemoteFiles.fetch``.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="tvbank-fetched-"))
    except OSError as error:
        raise cannot_write(Path(tempfile.gettempdir()), error) from error
    path = folder
    try:
        path = remote.fetch(folder)
        yield path, folder
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, TvbankError):  # which names a file that is gone
            told = (each.replace(str(path), remote.url) for each in map(str, error.args[:1]))
            error.args = (*told, *error.args[1:])
        raise
