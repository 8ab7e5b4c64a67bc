"""Adapters that ``tvbank.adapters`` does not take, recognised so that the refusal says what to do.

PEFT's folders come in through ``bank.add`` before anything here is asked; here they are met as the
version before an update, or in a manifest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn, final

from tvbank.artefacts._artefact import Artefact, Stored
from tvbank.artefacts._contents import Contents
from tvbank.artefacts._given import Given
from tvbank.checkpoint import Checkpoint, TensorSpec
from tvbank.errors import CheckpointError

_CONFIG = "adapter_config.json"
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")

#: Names that only adapters have, and the tool that writes them so.
_TELLING = (
    (re.compile(r"\.lora_(down|up)\.weight$"), "LoRA (kohya)"),
    (
        re.compile(r"^(unet|transformer|text_encoder\w*)\..*\.lora_[AB]\.weight$"),
        "LoRA (diffusers)",
    ),
    (re.compile(r"\.lora_(embedding_)?[AB](\.|$)"), "LoRA (PEFT)"),
)


@final
class AdapterFiles(Artefact):
    """An adapter: a folder of PEFT's, or a file of LoRA's factors."""

    kind: ClassVar[str] = "adapter"
    title: ClassVar[str] = "an adapter"

    def __init__(
        self, source: str, files: Sequence[Path], method: str, base: str | None,
        tensors: Sequence[TensorSpec],
    ) -> None:  # fmt: skip
        self.source, self.files, self.method, self._base = source, files, method, base
        self._tensors = tensors

    @staticmethod
    def recognise(contents: Contents) -> AdapterFiles | None:
        """A folder with PEFT's configuration, or a file with LoRA's names."""
        if _CONFIG in contents.names:
            config = contents.json(_CONFIG)
            config = config if isinstance(config, dict) else {}
            there = [contents.path / name for name in _WEIGHTS if name in contents.names]
            specs = list(Contents(there[0]).tensors.values()) if there else []
            method, base = config.get("peft_type"), config.get("base_model_name_or_path")
            files = [contents.path / _CONFIG, *there]
            return AdapterFiles(contents.source, files, f"{method} (PEFT)", base, specs)
        for name in contents.tensors:
            for pattern, method in _TELLING:
                if pattern.search(name):
                    specs = list(contents.tensors.values())
                    return AdapterFiles(contents.source, [contents.path], method, None, specs)
        return None

    def stored(self) -> Sequence[Stored]:
        """See ``Artefact.stored``."""
        return [Stored(s.name, s.dtype, s.shape, s.nbytes, "other") for s in self._tensors]

    def notes(self) -> Mapping[str, Any]:
        """See ``Artefact.notes``."""
        return {"method": self.method, "base": self._base}

    def changes(self, base: Checkpoint, given: Given) -> NoReturn:
        """Refuse.

        Raises:
            CheckpointError: always.
        """
        raise CheckpointError(
            f"{self.source!r} is an adapter, {self.method}: `tvbank add` takes those in the "
            "layouts of PEFT, diffusers and kohya; merge any other into its base "
            "(merge_and_unload()) and give the full model"
        )
