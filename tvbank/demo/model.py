"""A small vision transformer for 8 x 8 grey images, with or without a task's head; its files."""

from __future__ import annotations

from pathlib import Path
from typing import cast, final

import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional

from tvbank._atomic import replace_file
from tvbank.demo.pictures import SIDE
from tvbank.demo.result import Settings

_PATCH, _STRIDE = 4, 2
_MEAN, _DEVIATION = 0.3, 0.37  # of the pixels
_BATCH = 512


@final
class Block(nn.Module):
    """Attention and a two-layer perceptron, each after a norm and beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [n, tokens, width] -> the same shape."""
        n, length, width = tokens.shape
        qkv = self.qkv(self.norm1(tokens)).view(n, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.proj(mixed.transpose(1, 2).reshape(n, length, width))
        hidden = functional.gelu(self.fc1(self.norm2(tokens)))
        return cast(Tensor, tokens + self.fc2(hidden))


@final
class VisionTransformer(nn.Module):
    """Images [n, 8, 8] in 0..1 -> features [n, width], or with a ``head`` logits [n, classes].

    Patches are 4 x 4 pixels and overlap by half: an 8 x 8 image has so few pixels that disjoint
    patches leave attention little to compare (measured: 78 % against 90 % on the task ``turned``
    after 200 steps from scratch).
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        width, count = settings.width, ((SIDE - _PATCH) // _STRIDE + 1) ** 2
        self.patch = nn.Linear(_PATCH * _PATCH, width)
        nn.init.normal_(self.patch.weight, std=2 / _PATCH)
        self.position = nn.Parameter(torch.randn(count, width) / 2)
        self.blocks = nn.ModuleList(Block(width, settings.heads) for _ in range(settings.depth))
        self.norm = nn.LayerNorm(width)
        self.head: nn.Module = nn.Identity()

    def patches(self, images: Tensor) -> Tensor:
        """Images [n, 8, 8] -> pixels of each patch, normalised [n, 9, 16]."""
        windows = images.unfold(1, _PATCH, _STRIDE).unfold(2, _PATCH, _STRIDE)
        return (windows.reshape(len(images), -1, _PATCH * _PATCH) - _MEAN) / _DEVIATION

    def encode(self, embedded: Tensor) -> Tensor:
        """Embedded patches [n, 9, width], without positions -> tokens [n, 9, width]."""
        tokens = embedded + self.position
        for block in self.blocks:
            tokens = block(tokens)
        return cast(Tensor, self.norm(tokens))

    def forward(self, images: Tensor) -> Tensor:
        """Images [n, 8, 8] in 0..1 -> features [n, width], or logits [n, classes]."""
        return cast(Tensor, self.head(self.encode(self.patch(self.patches(images))).mean(1)))


@torch.no_grad()
def outputs(model: VisionTransformer, images: Tensor) -> Tensor:
    """Features or logits of any number of images, in batches."""
    return torch.cat([model(images[i : i + _BATCH]) for i in range(0, len(images), _BATCH)])


def accuracy(model: VisionTransformer, images: Tensor, labels: Tensor) -> float:
    """Share of images [n, 8, 8] whose largest logit is that of their label [n]."""
    return float((outputs(model, images).argmax(1) == labels).double().mean())


def save_model(path: Path, model: VisionTransformer) -> None:
    """Write a checkpoint, whole or not at all; a head becomes ``head.weight`` and ``head.bias``."""
    units = {name: unit.contiguous() for name, unit in model.state_dict().items()}
    replace_file(path, save(units))


def load_model(path: Path, settings: Settings) -> VisionTransformer:
    """Read a checkpoint of a model with a head, or an export of it, into a new model."""
    units = load_file(path)
    model = VisionTransformer(settings)
    model.head = nn.Linear(settings.width, len(units["head.bias"]))
    model.load_state_dict(units)
    return model


def differing_units(one: Path, other: Path) -> list[str]:
    """Units that are not in both files with the same element type, shape and bits."""
    ones, others = (
        {name: (a.dtype, a.shape, a.tobytes()) for name, a in load_arrays(path).items()}
        for path in (one, other)
    )
    names = ones.keys() | others.keys()
    return sorted(name for name in names if ones.get(name) != others.get(name))
