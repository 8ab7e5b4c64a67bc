"""Find out what a checkpoint is, and open it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tvbank.checkpoint._checkpoint import Checkpoint
from tvbank.checkpoint._failures import unreadable
from tvbank.checkpoint._safetensors import SafetensorsCheckpoint
from tvbank.checkpoint._state_dict import StateDictCheckpoint
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
        source: a checkpoint (returned as is), a state dict of torch tensors or numpy arrays, a
            torch module, or the path of a ``.safetensors`` file.

    Returns:
        A checkpoint that the caller closes, or uses in a ``with`` statement.

    Raises:
        CheckpointError: missing, truncated, unsafe to load or not of a known kind.
        UsageError: an argument of another type.
    """
    if isinstance(source, Checkpoint):
        return source
    if isinstance(source, Mapping):
        return StateDictCheckpoint(source, f"the state dict of {len(source)} entries")
    if isinstance(source, str | os.PathLike):
        return _open_path(Path(source))
    if is_torch_module(source):
        return StateDictCheckpoint(source.state_dict(), f"the module {type(source).__name__}")
    raise UsageError(
        f"a checkpoint is a path, a state dict, a torch module or a Checkpoint, not a "
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
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if stat.S_ISREG(mode) and path.suffix.lower() == ".safetensors":
        return SafetensorsCheckpoint(path)
    raise CheckpointError(f"{str(path)!r} is not a checkpoint of a known kind")
