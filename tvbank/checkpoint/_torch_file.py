"""Checkpoints that ``torch.save`` wrote: ``.bin``, ``.pt``, ``.pth``, and Lightning's ``.ckpt``.

They are pickles. Torch's restricted unpickler (``weights_only=True``) is the only way in: it builds
tensors and plain containers and runs nothing else.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

from tvbank.checkpoint._files import regular_file_size, unreadable
from tvbank.checkpoint._numpy_beside import load_beside_numpy
from tvbank.checkpoint._pickle_bounds import objection_to
from tvbank.checkpoint._state_dict import StateDictCheckpoint, is_torch_tensor
from tvbank.checkpoint._zip_directory import directory_bytes
from tvbank.errors import CheckpointError, MissingPackageError

__all__ = ["TORCH_SUFFIXES", "load_torch_file", "open_torch_file", "state_dict_in"]

TORCH_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pth.tar")

#: Keys under which training scripts keep the weights, beside epochs, optimisers, best scores.
_USUAL_KEYS = (
    "state_dict", "model", "model_state_dict", "module", "net", "network", "weights", "params",
)  # fmt: skip

#: Keys of other weights of the same model: an average of them, for instance.
_OTHER_WEIGHTS = re.compile(r"(^|_)(ema|swa|averaged?|shadow|teacher|student|best|last)(_|$)")

#: Most bytes of a zip file's directory: torch writes one entry of about 100 bytes a tensor.
_DIRECTORY_BYTES = 2**24

#: Most bytes of a pickle that describes tensors.
_PICKLE_BYTES = 2**28

#: Pickles in a file of the legacy kind.
_LEGACY_PICKLES = 5


def open_torch_file(path: Path) -> StateDictCheckpoint:
    """Open a file that ``torch.save`` wrote.

    Files of torch 1.6 and later are memory-mapped: weights come into memory as they are read, and
    leave it when the operating system needs it. Older ones are loaded into memory.

    Args:
        path: a file that holds a state dict, or a dict with one state dict among other things.

    Returns:
        A checkpoint of the state dict; names that shared storage when saved are tied.

    Raises:
        CheckpointError: missing, truncated, refused by the restricted unpickler, or without exactly
            one state dict.
    """
    return state_dict_in(path, load_torch_file(path))


def state_dict_in(path: Path, content: object) -> StateDictCheckpoint:
    """The checkpoint that a loaded file holds; see ``open_torch_file``.

    Raises:
        CheckpointError: not exactly one state dict.
    """
    return StateDictCheckpoint(_only_state_dict(path, content), str(path))


def load_torch_file(path: Path) -> object:
    """What ``torch.save`` wrote into a file: tensors and plain containers; nothing is executed.

    Raises:
        CheckpointError: missing, truncated, or refused by the restricted unpickler.
        MissingPackageError: torch is not installed.
    """
    regular_file_size(path)
    mapped = _is_mappable(path)
    try:
        with warnings.catch_warnings():  # the unpickler warns of protocols newer than torch's own
            warnings.simplefilter("ignore")
            return load_beside_numpy(path, mapped)
    except MissingPackageError:
        raise
    except OSError as error:
        raise unreadable(path, error) from error
    except Exception as error:  # what an unpickler raises on hostile bytes has no common class
        raise CheckpointError(
            f"{str(path)!r} cannot be loaded safely ({_gist(error)}); if it is sound and "
            "you trust it, convert it to safetensors"
        ) from error


def _is_mappable(path: Path) -> bool:
    """Whether the file is of the zip kind; the legacy kind cannot be mapped.

    Torch maps a compressed record as if it were stored, and returns its bytes as weights. Before
    it unpickles anything, this is looked at.

    Raises:
        CheckpointError: damaged, compressed, or unpickling it would take out of proportion.
    """
    try:
        with open(path, "rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            objection = _objection_to_zip(file) if zipped else _objection_to_legacy(file)
    except OSError as error:
        raise unreadable(path, error) from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(
            f"{str(path)!r} is truncated or damaged ({error}); fetch it again"
        ) from error
    if objection:
        raise CheckpointError(f"{str(path)!r} {objection}")
    return zipped


def _objection_to_zip(file: BinaryIO) -> str:
    """Why a zip file must not be given to torch; empty if it may."""
    if directory_bytes(file) > _DIRECTORY_BYTES:
        return (
            f"has a zip directory of more than {_DIRECTORY_BYTES} bytes, as no checkpoint has; do "
            "not trust it"
        )
    with zipfile.ZipFile(file) as archive:
        records = archive.infolist()
        if any(record.compress_type != zipfile.ZIP_STORED for record in records):
            return (
                "has compressed records, which torch.save never writes (it is TorchScript, or was "
                "compressed later); save model.state_dict() or convert it to safetensors"
            )
        if len({record.filename for record in records}) < len(records):
            return "has two records of one name; do not trust it"
        for record in records:
            if record.filename.lower().endswith("data.pkl"):
                if record.file_size > _PICKLE_BYTES:
                    return f"has a pickle of more than {_PICKLE_BYTES} bytes; do not trust it"
                if objection := objection_to(io.BytesIO(archive.read(record))):
                    return f"cannot be loaded safely ({objection}); do not trust it"
    return ""


def _objection_to_legacy(file: BinaryIO) -> str:
    """Why a file of the legacy kind must not be given to torch; empty if it may."""
    for _ in range(_LEGACY_PICKLES):
        if objection := objection_to(file):
            return f"cannot be loaded safely ({objection}); do not trust it"
    return ""


def _gist(error: Exception) -> str:
    """What was refused, or how the message begins: torch's run to a page."""
    refused = re.search(r"GLOBAL (\S+)", str(error))
    if refused:
        return f"it asks for {refused[1]}, which is no tensor"
    first = str(error).split("\n")[0].split(". ")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _only_state_dict(path: Path, content: object) -> Mapping[str, Any]:
    """The state dict that a file holds: its content, or one entry of its content.

    An entry is one under a usual key. Tensors under other keys (a task vector, masks, Fisher
    information) are not weights; under a key such as ``ema`` they are weights, but others.
    """
    nested = {}
    if isinstance(content, Mapping):
        nested = {str(key): value for key, value in content.items() if _holds_tensors(value)}
    usual = [key for key in _USUAL_KEYS if key in nested]
    others = [key for key in nested if key not in usual and _OTHER_WEIGHTS.search(key.lower())]
    if len(usual) + len(others) > 1:
        raise CheckpointError(
            f"{str(path)!r} holds several state dicts ({', '.join(map(repr, [*usual, *others]))}); "
            "save the one that you mean by itself"
        )
    for key in (*usual, *others):
        return nested[key]
    if _holds_tensors(content):
        return content
    if nested:
        raise CheckpointError(
            f"{str(path)!r} holds no state dict that is known as such, but tensors under "
            f"{', '.join(map(repr, nested))}; if one of them holds a model's weights, save it by "
            "itself"
        )
    raise CheckpointError(
        f"{str(path)!r} holds no state dict but a {type(content).__name__}; save "
        "model.state_dict() instead"
    )


def _holds_tensors(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping) and any(is_torch_tensor(item) for item in value.values())
