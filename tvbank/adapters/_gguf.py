"""LoRA in GGUF, as llama.cpp's converter writes it: factors by GGUF's names, alpha in the header.

``blk.0.attn_q.weight.lora_a`` [r, in] and ``.lora_b`` [out, r] add alpha / r * B @ A; of the
embedding, ``token_embd.weight.lora_a`` is [tokens, r]. Rows are in llama.cpp's order, so the base
is a GGUF file, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, final

from numpy.typing import NDArray

from tvbank.checkpoint import Checkpoint, GgufCheckpoint, GgufFile, TensorSpec
from tvbank.errors import CheckpointError

_FACTOR = re.compile(r"(.+)\.weight\.lora_([ab])\Z")

#: The one module that looks up rows.
_EMBEDDING = "token_embd"


@final
class GgufFactors(Checkpoint):
    """The factors of a GGUF file by PEFT's names and in PEFT's shapes.

    Attributes:
        alpha: of all modules.
        architecture: of the base, as GGUF calls it.
    """

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            CheckpointError: it is damaged, quantised, or no LoRA.
        """
        self._file = GgufCheckpoint(path, is_adapter=True)
        said = self._file.metadata
        self.architecture = str(said.get("general.architecture"))
        kind, alpha = said.get("adapter.type", "lora"), said.get("adapter.lora.alpha")
        if kind != "lora" or isinstance(alpha, bool) or not isinstance(alpha, int | float):
            raise CheckpointError(
                f"{str(path)!r} is an adapter in GGUF of kind {kind!r} with alpha {alpha!r}, and "
                "only LoRA with an alpha can be added: convert it again, or merge it into its base"
            )
        self.alpha = float(alpha)
        self._from: dict[str, tuple[str, bool]] = {}
        specs = {}
        for name, spec in self._file.tensors.items():
            match = _FACTOR.match(name)
            if match is None:
                raise CheckpointError(
                    f"{str(path)!r} has {name!r}, which is no factor of LoRA: merge it into its "
                    "base, and add the full model"
                )
            module, side = match[1], match[2].upper()
            turned = module == _EMBEDDING and side == "A" and len(spec.shape) == 2
            part = f"lora_embedding_{side}" if module == _EMBEDDING else f"lora_{side}.weight"
            own = f"base_model.model.{module}.{part}"
            specs[own] = replace(spec, name=own, shape=spec.shape[::-1] if turned else spec.shape)
            self._from[own] = name, turned
        super().__init__(self._file.source, specs, {})

    def expect(self, names: Iterable[str]) -> None:
        """See ``Checkpoint.expect``."""
        self._file.expect([self._from[name][0] for name in names])

    def _read(self, spec: TensorSpec) -> NDArray[Any]:
        name, turned = self._from[spec.name]
        array: NDArray[Any] = self._file.read(name)
        return array.T if turned else array

    def _close(self) -> None:
        self._file.close()


def is_gguf_adapter(path: Path) -> bool:
    """Whether a file is GGUF and says that it is an adapter."""
    try:
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                return False
        return GgufFile(path).metadata.get("general.type") == "adapter"
    except (OSError, CheckpointError):
        return False  # opening it as a checkpoint says what is wrong
