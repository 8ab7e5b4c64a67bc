"""Images of 28 x 28 grey pixels: a small vision transformer of 2.7 M parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tools.bench.realtasks._family import Family, Inputs

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
