"""An adapter in memory, written as PEFT reads it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from numpy.typing import NDArray

from tvbank._atomic_folder import folder_aside
from tvbank.adapters._config import CONFIG, dump_config
from tvbank.checkpoint import TensorSpec, aligned_order, write_safetensors
from tvbank.errors import StorageError

#: The file with the weights.
WEIGHTS = "adapter_model.safetensors"

_PREFIX = "base_model.model."

#: Modules that look up rows, and those of GPT-2 that hold their weight as [in, out], by name.
_EMBEDDING = re.compile(r"(^|\.)(embed\w*|\w*embeddings?|wte|wpe|shared)\Z")
_TURNED = re.compile(r"(^|\.)(c_attn|c_proj|c_fc|q_attn)\Z")


@final
@dataclass
class PeftFolder:
    """What goes into the folder of a LoRA adapter.

    Attributes:
        config: of ``adapter_config.json``.
        tensors: by the names that PEFT has for them.
    """

    config: dict[str, Any]
    tensors: dict[str, NDArray[Any]] = field(default_factory=dict)

    def factors(
        self, module: str, shape: tuple[int, ...], b: NDArray[Any], a: NDArray[Any],
        *, embedding: bool,
    ) -> None:  # fmt: skip
        """Add the factors of a module's weight, in the shapes of its kind.

        Args:
            module: its name, without PEFT's prefix.
            shape: of its weight.
            b: [rows, rank].
            a: [rank, columns].
            embedding: whether it looks up rows.
        """
        name = _PREFIX + module
        if embedding:
            self.tensors[f"{name}.lora_embedding_A"] = a
            self.tensors[f"{name}.lora_embedding_B"] = b
            return
        if len(shape) > 2:
            b = b.reshape(*b.shape, *(1 for _ in shape[2:]))
            a = a.reshape(len(a), *shape[1:])
        self.tensors[f"{name}.lora_A.weight"] = a
        self.tensors[f"{name}.lora_B.weight"] = b

    def bias(self, module: str, b: NDArray[Any]) -> None:
        """Add what is added to a module's bias, before the scale; [out, 1]."""
        self.tensors[f"{_PREFIX}{module}.lora_B.bias"] = b.reshape(-1)

    def whole(self, tensor: str, array: NDArray[Any]) -> None:
        """Add a tensor that is kept whole, by PEFT's name for it."""
        self.tensors[tensor] = array


def is_embedding(module: str) -> bool:
    """Whether a module looks up rows, by its name."""
    return _EMBEDDING.search(module) is not None


def is_turned(module: str) -> bool:
    """Whether a module holds its weight as [in, out], by its name: GPT-2's Conv1D."""
    return _TURNED.search(module) is not None


def plain_config(scales: Mapping[str, tuple[int, float]], *, turned: bool) -> dict[str, Any]:
    """The configuration of a LoRA adapter that PEFT did not write.

    Args:
        scales: rank, and what the product is multiplied by, of each module.
        turned: whether modules hold their weight as [in, out].
    """
    ranks = [rank for rank, _ in scales.values()]
    rank = max(ranks, default=1)
    alphas = {module: scale * r for module, (r, scale) in scales.items()}
    alpha = next(iter(alphas.values()), float(rank))
    exact = {f"^{re.escape(module)}": module for module in scales}
    return {
        "peft_type": "LORA", "r": rank, "lora_alpha": _whole(alpha), "lora_dropout": 0.0,
        "bias": "none", "fan_in_fan_out": turned, "inference_mode": True, "task_type": None,
        "base_model_name_or_path": None, "target_modules": sorted(scales),
        "rank_pattern": {p: scales[m][0] for p, m in exact.items() if scales[m][0] != rank},
        "alpha_pattern": {p: _whole(alphas[m]) for p, m in exact.items() if alphas[m] != alpha},
    }  # fmt: skip


def _whole(number: float) -> float | int:
    return int(number) if math.isfinite(number) and number == int(number) else number


def write_peft(folder: PeftFolder, path: Path) -> None:
    """Write the folder, whole or not at all; one that is there gets these files.

    Raises:
        StorageError: the disk refused.
    """
    specs = [
        TensorSpec(name, array.dtype.name, array.shape) for name, array in folder.tensors.items()
    ]
    with folder_aside(path, CONFIG, lambda name: name == "adapter_model.bin") as aside:
        write_safetensors(aside / WEIGHTS, aligned_order(specs), folder.tensors.__getitem__)
        try:
            (aside / CONFIG).write_bytes(dump_config(folder.config))
        except OSError as error:
            raise StorageError(f"{path}: cannot write: {error.strerror or error}") from error
