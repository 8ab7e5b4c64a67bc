"""Where a patched checkpoint goes: a new file, a new folder, or the place of the old one."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from numpy.typing import NDArray

from tvbank._atomic import cannot_write, replace_file, sync_folder
from tvbank.checkpoint import (
    TensorSpec,
    aligned_order,
    read_texts,
    read_weight_map,
    write_safetensors,
)
from tvbank.errors import BankExistsError

INDEX = ".safetensors.index.json"

#: What a folder's weights end in; other files belong to the model whatever its weights are.
_WEIGHTS = (
    ".safetensors", INDEX, ".bin", ".bin.index.json", ".pt", ".pth", ".ckpt", ".gguf", ".onnx",
    ".h5", ".msgpack",
)  # fmt: skip


@dataclass(frozen=True)
class State:
    """A new state of a checkpoint that is to be written.

    Attributes:
        specs: its tensors.
        changed: whether a tensor is another than it was, or was not there.
        make: their arrays, in the order of some specs, one by one.
        prove: called once all have been made, before anything takes its place: raises what is
            wrong with them.
        tag: eight letters by which the state is told from the one before.
    """

    specs: Sequence[TensorSpec]
    changed: Callable[[str], bool]
    make: Callable[[Sequence[TensorSpec]], Iterator[NDArray[Any]]]
    prove: Callable[[], None]
    tag: str


class Output(ABC):
    """A place for a state."""

    @abstractmethod
    def write(self, state: State) -> Path:
        """Write a state there, whole and proved, or leave the place as it was.

        Returns:
            The file or folder.

        Raises:
            StorageError: the disk refused.
        """


@final
class FileOutput(Output):
    """One safetensors file, new or in the place of an old one."""

    def __init__(self, path: Path, texts: Mapping[str, str] | None) -> None:
        self._path, self._texts = path, texts

    def write(self, state: State) -> Path:
        """See ``Output.write``."""
        ordered = aligned_order(state.specs)

        def proved() -> Iterator[NDArray[Any]]:
            yield from state.make(ordered)
            state.prove()  # the file has not taken its place yet

        write_safetensors(self._path, ordered, proved(), self._texts)
        return self._path


@final
class FolderOutput(Output):
    """A new folder like the old one: its shards under their names, and what lies beside them.

    Configurations, tokenizers and cards are copied from the old folder as they are.
    """

    def __init__(self, path: Path, old: Path) -> None:
        """Prepare.

        Args:
            path: the folder to make; empty, if it is there.
            old: the file or index of the old checkpoint, in its folder.

        Raises:
            BankExistsError: there is something.
        """
        self._path, self._old = path, old
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise BankExistsError(f"{path} exists: choose another place, or an empty folder")

    def write(self, state: State) -> Path:
        """See ``Output.write``."""
        sharded = self._old.name.endswith(INDEX)
        placed = read_weight_map(self._old) if sharded else dict.fromkeys("", self._old.name)
        with _folder_beside(self._path) as made:
            shards = by_shard(state.specs, placed, self._old.name)
            for file, specs in shards.items():
                ordered = aligned_order(specs)
                (made / file).parent.mkdir(parents=True, exist_ok=True)
                texts = read_texts(self._old.parent / file)
                write_safetensors(made / file, ordered, state.make(ordered), texts)
            state.prove()
            if sharded:
                replace_file(made / self._old.name, new_index(self._old, shards))
            for other in sorted(self._old.parent.iterdir()):
                if other.is_file() and not other.name.lower().endswith(_WEIGHTS):
                    shutil.copy2(other, made / other.name)
        return self._path


@contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """A folder that becomes ``path`` when the block ends without an error, or else goes.

    Raises:
        StorageError: the disk refused.
    """
    made = path.parent / f".{path.name[:200]}.tmp-{secrets.token_hex(8)}"
    try:
        made.mkdir()
        try:
            yield made
            sync_folder(made)
            os.replace(made, path)  # which may be an empty folder
            sync_folder(path.parent)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    except OSError as error:
        raise cannot_write(path, error) from error


def by_shard(
    specs: Sequence[TensorSpec], placed: Mapping[str, str], alone: str
) -> dict[str, list[TensorSpec]]:
    """The tensors of each file: where they were; those that are new, in the last one.

    Args:
        specs: of all tensors.
        placed: the file of each old tensor, as an index says.
        alone: the one file of a checkpoint without an index.
    """
    files = sorted(set(placed.values())) or [alone]
    shards: dict[str, list[TensorSpec]] = {file: [] for file in files}
    for spec in specs:
        shards[placed.get(spec.name, files[-1])].append(spec)
    return shards


def new_index(old: Path, shards: Mapping[str, Sequence[TensorSpec]]) -> bytes:
    """The index of these shards; what the old one says besides stays.

    Args:
        old: the old index.
        shards: the tensors of each file.
    """
    content = json.loads(old.read_bytes())
    total = sum(spec.nbytes for specs in shards.values() for spec in specs)
    content["metadata"] = {**(content.get("metadata") or {}), "total_size": total}
    placed = {spec.name: file for file, specs in shards.items() for spec in specs}
    content["weight_map"] = dict(sorted(placed.items()))
    return (json.dumps(content, indent=2) + "\n").encode()
