"""The two families, text and images, and how a folder of either is read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from tools.bench.realtasks._family import Family, Inputs, RealTask

PAD = 0


@final
@dataclass(frozen=True)
class MiniLM(Family):
    """Token ids [n, length], padded with 0 -> mean of the last states over real tokens [n, 384]."""

    name: ClassVar[str] = "minilm"

    @staticmethod
    def architecture() -> torch.nn.Module:
        from transformers import BertConfig, BertModel

        config = BertConfig(
            vocab_size=30522,
            hidden_size=384,
            num_hidden_layers=6,
            num_attention_heads=12,
            intermediate_size=1536,
        )
        model: torch.nn.Module = BertModel(config, add_pooling_layer=False)
        return model

    @staticmethod
    def inputs(x: NDArray[Any]) -> Inputs:
        """``input_ids`` and ``attention_mask``, int64 [n, longest], without common padding."""
        ids = torch.from_numpy(x).long()
        mask = (ids != PAD).long()
        longest = int(mask.sum(1).max()) if len(ids) else 1
        return {"input_ids": ids[:, :longest], "attention_mask": mask[:, :longest]}

    @staticmethod
    def pooled(model: torch.nn.Module, inputs: Inputs) -> torch.Tensor:
        assert isinstance(inputs, dict)
        states: torch.Tensor = model(**inputs).last_hidden_state
        real = inputs["attention_mask"][..., None].to(states.dtype)
        return (states * real).sum(1) / real.sum(1)


SIDE = 28
WIDTH = 192
_DEPTH, _HEADS, _PATCH = 6, 3, 4
_MEAN, _DEVIATION = 0.3, 0.35


@final
class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.fc1, self.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        n, length, _ = tokens.shape
        joined = self.qkv(self.norm1(tokens)).view(n, length, 3, _HEADS, WIDTH // _HEADS)
        query, key, value = joined.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.proj(mixed.transpose(1, 2).reshape(n, length, WIDTH))
        return tokens + self.fc2(functional.gelu(self.fc1(self.norm2(tokens))))


@final
class VisionTransformer(nn.Module):
    """Images [n, 28, 28] in 0..1 -> the mean of the normalised patch tokens [n, 192]."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, WIDTH, _PATCH, _PATCH)
        self.pos = nn.Parameter(torch.zeros(1, (SIDE // _PATCH) ** 2, WIDTH))
        self.blocks = nn.ModuleList(_Block() for _ in range(_DEPTH))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, images: Tensor) -> Tensor:
        scaled = (images[:, None] - _MEAN) / _DEVIATION
        tokens = self.patch(scaled).flatten(2).transpose(1, 2) + self.pos
        for block in self.blocks:
            tokens = block(tokens)
        pooled: Tensor = self.norm(tokens).mean(1)
        return pooled


@final
@dataclass(frozen=True)
class ViT(Family):
    """Images of bytes [n, 28, 28] -> features [n, 192]."""

    name: ClassVar[str] = "vit"

    @staticmethod
    def architecture() -> nn.Module:
        return VisionTransformer()

    @staticmethod
    def inputs(x: NDArray[Any]) -> Inputs:
        """Float32 [n, 28, 28] in 0..1."""
        return torch.from_numpy(x).float() / 255

    @staticmethod
    def pooled(model: nn.Module, inputs: Inputs) -> Tensor:
        features: Tensor = model(inputs)
        return features


#: Families by name.
FAMILIES: dict[str, type[Family]] = {"minilm": MiniLM, "vit": ViT}


def load(folder: str | os.PathLike[str], family: str, *, tuned: bool = True) -> Family:
    """Read the data and heads of a family's tasks; weights stay in their files.

    Args:
        folder: the folder; see the package's description for its layout.
        family: ``"minilm"`` or ``"vit"``.
        tuned: leave out tasks whose fine-tune is not there (yet).

    Returns:
        The family with its tasks, by name in alphabetical order.

    Raises:
        FileNotFoundError: the folder holds no base of that family.
        ValueError: no such family.
    """
    if family not in FAMILIES:
        raise ValueError(f"no family {family!r}: choose from {', '.join(FAMILIES)}")
    root = Path(folder) / family
    base = root / "base.safetensors"
    if not base.is_file():
        raise FileNotFoundError(
            f"{base} is missing: python -m tools.bench realtasks build --out {folder}"
        )
    tasks = {
        path.parent.name: _task(path.parent) for path in sorted(root.glob("*/head.safetensors"))
    }
    there = {name: task for name, task in tasks.items() if not tuned or task.tuned.is_file()}
    return FAMILIES[family](base, there)


def _task(folder: Path) -> RealTask:
    head = load_file(folder / "head.safetensors")
    with np.load(folder / "data.npz", allow_pickle=False) as data:
        return RealTask(
            folder.name,
            folder / "tuned.safetensors",
            data["x_train"],
            data["y_train"],
            data["x_test"],
            data["y_test"],
            head["weight"],
            head["bias"],
        )
