"""Checkpoints that ``torch.save`` wrote: ``.bin``, ``.pt`` and ``.pth`` files.

They are pickles. Torch's restricted unpickler (``weights_only=True``) is the only way in: it builds
tensors and plain containers and runs nothing else.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from tvbank.checkpoint._files import regular_file_size, unreadable
from tvbank.checkpoint._state_dict import StateDictCheckpoint, is_torch_tensor
from tvbank.errors import CheckpointError

__all__ = ["TORCH_SUFFIXES", "open_torch_file"]

TORCH_SUFFIXES = (".bin", ".pt", ".pth")

#: Keys under which training scripts keep the weights, beside loose tensors such as a best score.
_USUAL_KEYS = ("state_dict", "model", "model_state_dict")


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
    regular_file_size(path)
    return StateDictCheckpoint(_only_state_dict(path, _load(path)), str(path))


def _load(path: Path) -> object:
    import torch

    mapped = _is_mappable(path)
    try:
        with warnings.catch_warnings():  # the unpickler warns of protocols newer than torch's own
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except OSError as error:
        raise unreadable(path, error) from error
    except Exception as error:  # what an unpickler raises on hostile bytes has no common class
        raise CheckpointError(
            f"{str(path)!r} cannot be loaded safely ({_gist(error)}); if it is sound and "
            "you trust it, convert it to safetensors"
        ) from error


def _is_mappable(path: Path) -> bool:
    """Whether the file is of the zip kind; the legacy kind cannot be mapped.

    Torch maps a compressed record as if it were stored, and returns its bytes as weights.
    """
    try:
        with open(path, "rb") as file:
            if file.read(4) != b"PK\x03\x04":
                return False
            with zipfile.ZipFile(file) as archive:
                compressed = [
                    r for r in archive.infolist() if r.compress_type != zipfile.ZIP_STORED
                ]
    except OSError as error:
        raise unreadable(path, error) from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(
            f"{str(path)!r} is truncated or damaged ({error}); fetch it again"
        ) from error
    if compressed:
        raise CheckpointError(
            f"{str(path)!r} has compressed records, which torch.save never writes (it is "
            "TorchScript, or was compressed later); save model.state_dict() or convert it to "
            "safetensors"
        )
    return True


def _gist(error: Exception) -> str:
    """What was refused, or how the message begins: torch's run to a page."""
    refused = re.search(r"GLOBAL (\S+)", str(error))
    if refused:
        return f"it asks for {refused[1]}, which is no tensor"
    first = str(error).split("\n")[0].split(". ")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _only_state_dict(path: Path, content: object) -> Mapping[str, Any]:
    """The state dict that a file holds: its content, or one entry of its content.

    A dict that holds exactly one mapping of tensors stands for that mapping, whatever else (epochs,
    optimisers) lies beside it; but where loose tensors lie beside it, only under a usual key.
    """
    nested = {}
    if isinstance(content, Mapping):
        nested = {key: value for key, value in content.items() if _holds_tensors(value)}
    if len(nested) > 1:
        raise CheckpointError(
            f"{str(path)!r} holds several state dicts ({', '.join(map(repr, nested))}); save the "
            "one that you mean by itself"
        )
    for key, state_dict in nested.items():
        if key in _USUAL_KEYS or not _holds_tensors(content):
            return state_dict
    if not _holds_tensors(content):
        raise CheckpointError(
            f"{str(path)!r} holds no state dict but a {type(content).__name__}; save "
            "model.state_dict() instead"
        )
    return content


def _holds_tensors(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping) and any(is_torch_tensor(item) for item in value.values())
