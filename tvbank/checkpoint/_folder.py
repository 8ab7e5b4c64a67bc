"""Which file of a folder is the checkpoint."""

from __future__ import annotations

from pathlib import Path

from tvbank.checkpoint._files import unreadable
from tvbank.errors import CheckpointError

__all__ = ["SAFETENSORS_INDEX", "TORCH_INDEX", "checkpoint_in"]

SAFETENSORS_INDEX = ".safetensors.index.json"
TORCH_INDEX = ".bin.index.json"


def checkpoint_in(folder: Path) -> Path:
    """Find the one checkpoint of a folder, safetensors before torch's files.

    In this order: ``model.safetensors``, ``model.safetensors.index.json``, the only
    ``*.safetensors.index.json``, the only ``*.safetensors``, ``pytorch_model.bin``,
    ``pytorch_model.bin.index.json``. It is the order of the libraries that write such folders.

    Returns:
        The path of a checkpoint's file or index.

    Raises:
        CheckpointError: none, or several to choose from.
    """
    try:
        names = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name[0] != ".")
    except OSError as error:
        raise unreadable(folder, error) from error
    for wanted in (
        ["model.safetensors"],
        [f"model{SAFETENSORS_INDEX}"],
        [name for name in names if name.endswith(SAFETENSORS_INDEX)],
        [name for name in names if name.endswith(".safetensors")],
        ["pytorch_model.bin"],
        [f"pytorch_model{TORCH_INDEX}"],
    ):
        present = [name for name in wanted if name in names]
        if len(present) > 1:
            raise CheckpointError(
                f"the folder {str(folder)!r} holds several checkpoints ({', '.join(present)}); "
                "name the one that you mean"
            )
        if present:
            return folder / present[0]
    raise CheckpointError(
        f"the folder {str(folder)!r} holds no checkpoint: looked for model.safetensors, an index "
        f"*{SAFETENSORS_INDEX}, a single *.safetensors file, pytorch_model.bin and "
        f"pytorch_model{TORCH_INDEX}; name the file itself if it is called otherwise"
    )
