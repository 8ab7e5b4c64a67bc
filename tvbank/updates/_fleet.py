"""Updates in the layouts of training fleets, of a task that stands for the next version."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, final

import msgspec
import numpy as np
from numpy.typing import NDArray

from tvbank._atomic import replace_file
from tvbank._atomic_folder import folder_aside
from tvbank.artefacts.byte_delta import ENCODINGS, checksum, encode
from tvbank.artefacts.hf_delta import INDEX
from tvbank.artefacts.sparse import INDICES, VALUES
from tvbank.bank.bank import Bank, as_bank
from tvbank.bank.outputs import refuse_within
from tvbank.checkpoint import (
    CheckpointSource,
    TensorSpec,
    aligned_order,
    refuse_replacing,
    write_safetensors,
)
from tvbank.dtypes import DTYPES
from tvbank.errors import BankExistsError, StorageError, UnitMismatchError, UsageError
from tvbank.layout import raw_bytes
from tvbank.naming import Names
from tvbank.storage import Location
from tvbank.updates._changed import Changed, bits, changed_units

_SHARD = "model-00001-of-00001.safetensors"
_NUMBERED = re.compile(r"weight_v(\d{1,18})\Z")


@final
@dataclass(frozen=True)
class UpdateReport:
    """What was written.

    Attributes:
        path: the folder or file.
        bytes: of the compressed differences.
        tensors: how many changed.
        version: of what results, as the update states it; None where the layout states none.
        base_version: of what it follows.
    """

    path: str
    bytes: int
    tensors: int
    version: str | None = None
    base_version: str | None = None


def write_hf_delta(
    bank: Bank | Location,
    task: str,
    *,
    out: str | os.PathLike[str],
    after: str | None = None,
    base: CheckpointSource | None = None,
    version: str | int | None = None,
    base_version: str | int | None = None,
    encoding: str = "xor",
    checksums: str = "xxh3-128",
    names: Names | None = None,
    replace: bool = False,
) -> UpdateReport:
    """Write a task as an HF delta checkpoint, which slime, vime and ModelExpress apply.

    Args:
        bank: an open bank, or its place.
        task: whose weights are the new version.
        out: the folder, mostly ``weight_v000002``; it appears when it is complete.
        after: the task whose weights are the version before; by default the base's are.
        base: the base's weights; by default those that ``create`` was given.
        version: of the new weights; by default the number in the folder's name. Numbers become
            texts of six digits.
        base_version: of the weights before; by default one less.
        encoding: of differences: ``xor`` or ``overwrite``.
        checksums: ``xxh3-128``, ``blake3`` (both need the extra ``updates``) or ``adler32``, which
            is the one that ModelExpress 0.7 takes.
        names: what the base's weights call each of the bank's names, if no way is found. The update
            has the bank's.
        replace: whether to write into a folder that is there.

    Raises:
        TaskNotFoundError, BaseMismatchError, CorruptionError: as ``tvbank.export``.
        UnitMismatchError: the task has tensors that the version before has not, or in another
            shape or element type: the layout has no place for them.
        BankExistsError: there is something already, and ``replace`` is false.
        UsageError: no version is given or in the folder's name, an unknown encoding, or ``out``
            lies in the bank.
    """
    bank, path = as_bank(bank), Path(out)
    versions = _versions(path, version, base_version)
    if encoding not in ENCODINGS:
        raise UsageError(f"encoding must be {' or '.join(ENCODINGS)}, got {encoding!r}")
    prove, source = checksum(checksums), bank.base_source(base)
    refuse_within(bank.storage, path)
    if path.exists() and not replace:
        raise BankExistsError(f"{path} exists: choose another folder, or replace it (--force)")
    before = None if after is None else bank[after]
    spool, proofs = _Spool(), {}
    with spool, changed_units(bank[task], bank.layout, source, before, names) as units:
        for spec, old, new in units:
            start, end = (_bytes(array) for array in (_same(task, spec, old), new))
            proofs[spec.name] = prove(end)
            spool.add(spec.name, encode(start, end, encoding))
        with folder_aside(path, INDEX, lambda _name: False) as folder:
            if spool.specs:
                write_safetensors(folder / _SHARD, spool.specs, spool.arrays(), proofs)
            metadata = {
                "version": versions[0], "base_version": versions[1], "delta_encoding": encoding,
                "compression_format": "zstd", "checksum_format": checksums,
            }  # fmt: skip
            index = {"metadata": metadata, "weight_map": dict.fromkeys(sorted(proofs), _SHARD)}
            replace_file(folder / INDEX, msgspec.json.encode(index))
    return UpdateReport(str(path), spool.size, len(proofs), *versions)


def write_sparse(
    bank: Bank | Location,
    task: str,
    *,
    out: str | os.PathLike[str],
    after: str | None = None,
    base: CheckpointSource | None = None,
    names: Names | None = None,
    replace: bool = False,
) -> UpdateReport:
    """Write a task as a sparse update of TRL: places and bfloat16 values in one safetensors file.

    Args:
        bank: an open bank, or its place.
        task: whose weights are the new version.
        out: the file, mostly ``deltas/step_000011.safetensors``.
        after: the task whose weights are the version before; by default the base's are.
        base: the base's weights; by default those that ``create`` was given.
        names: what these call each of the bank's names, if no way is found. The update has the
            bank's.
        replace: whether to replace a file that exists.

    Raises:
        TaskNotFoundError, BaseMismatchError, CorruptionError: as ``tvbank.export``.
        UnitMismatchError: a changed tensor is not bfloat16, is new, or of another shape: the layout
            has no place for it.
        BankExistsError: there is something already, and ``replace`` is false.
        UsageError: ``out`` lies in the bank, or is a file of the base.
    """
    bank, path = as_bank(bank), Path(out)
    source = bank.base_source(base)
    refuse_within(bank.storage, path)
    refuse_replacing(path, source)
    if path.is_dir() or (path.exists() and not replace):
        raise BankExistsError(f"{path} exists: choose another name, or replace it (--force)")
    before = None if after is None else bank[after]
    spool, count = _Spool(), 0
    with spool, changed_units(bank[task], bank.layout, source, before, names) as units:
        for spec, places, values in _places(task, units):
            spool.add(f"{spec.name}{INDICES}", places)
            spool.add(f"{spec.name}{VALUES}", values)
            count += 1
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make {path.parent}: {error.strerror or error}") from error
        ordered = aligned_order(spool.specs)
        write_safetensors(path, ordered, (spool.array(spec) for spec in ordered))
    return UpdateReport(str(path), spool.size, count)


def _places(
    task: str, units: Iterator[Changed]
) -> Iterator[tuple[TensorSpec, NDArray[np.int32], NDArray[Any]]]:
    for spec, old, new in units:
        start = _same(task, spec, old)
        if spec.dtype != "bfloat16" or new.size >= 2**31:
            raise UnitMismatchError(
                f"task {task!r}: tensor {spec.name!r} is {spec.dtype} {list(spec.shape)}, and "
                "TRL's updates hold bfloat16 values of fewer than 2**31 places: write an HF delta "
                "(--as hf-delta)"
            )
        places = np.flatnonzero(bits(start) != bits(new)).astype(np.int32)
        yield spec, places, new.reshape(-1)[places]


def _same(task: str, spec: TensorSpec, old: NDArray[Any] | None) -> NDArray[Any]:
    if old is None:
        raise UnitMismatchError(
            f"task {task!r}: the version before has no tensor {spec.name!r} of its shape and "
            "element type, and an update changes tensors only that are there: export a whole "
            "checkpoint instead"
        )
    return old


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    return np.frombuffer(raw_bytes(array), np.uint8)


def _versions(
    path: Path, version: str | int | None, base_version: str | int | None
) -> tuple[str, str]:
    numbered = _NUMBERED.search(path.name)
    if version is None and numbered is None:
        raise UsageError(
            f"{path}: say which version it is, version= (--version), or call the folder "
            "weight_v000001 and so on"
        )
    own = int(numbered[1]) if version is None and numbered is not None else version
    text = f"{own:06d}" if isinstance(own, int) else str(own)
    if base_version is None:
        if not text.isdigit() or int(text) < 1:
            raise UsageError(f"say which version {text!r} follows: base_version=")
        base_version = int(text) - 1
    return text, f"{base_version:06d}" if isinstance(base_version, int) else str(base_version)


@final
class _Spool:
    """Arrays whose sizes must be known before the first is written: in a temporary file."""

    def __init__(self) -> None:
        self.specs: list[TensorSpec] = []
        self.size = 0
        self._starts: dict[str, int] = {}
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="tvbank-")  # noqa: SIM115

    def __enter__(self) -> _Spool:
        return self

    def __exit__(self, *_error: object) -> None:
        with suppress(OSError):  # bytes that a full disk refused are of no use any more
            self._file.close()

    def add(self, name: str, array: NDArray[Any]) -> None:
        """Append one.

        Raises:
            StorageError: the disk of the temporary file is full.
        """
        self.specs.append(TensorSpec(name, array.dtype.name, array.shape))
        self._starts[name] = self.size
        try:
            self._file.write(raw_bytes(array))
            self._file.flush()  # here, not when it is read back or closed
        except OSError as error:
            raise StorageError(
                f"cannot write {array.nbytes} bytes to a temporary file: "
                f"{error.strerror or error}; free some space, or set TMPDIR to a larger disk"
            ) from error
        self.size += array.nbytes

    def array(self, spec: TensorSpec) -> NDArray[Any]:
        """Read one back."""
        self._file.seek(self._starts[spec.name])
        data = self._file.read(spec.nbytes)
        return np.frombuffer(data, DTYPES[spec.dtype]).reshape(spec.shape)

    def arrays(self) -> Iterator[NDArray[Any]]:
        """All, in order."""
        return map(self.array, self.specs)
