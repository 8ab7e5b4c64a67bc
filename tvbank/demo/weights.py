"""Models to and from safetensors files: units of the encoder by their names, then the head."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file, save
from torch import Tensor, nn

from tvbank.demo.model import Classifier, VisionTransformer
from tvbank.demo.settings import Settings

_HEAD = "head."


def save_encoder(path: Path, encoder: VisionTransformer) -> None:
    """Write an encoder without a head, such as the base."""
    path.write_bytes(save(_contiguous(encoder.state_dict())))


def save_classifier(path: Path, model: Classifier) -> None:
    """Write an encoder and, beside its units, ``head.weight`` and ``head.bias``."""
    units = dict(model.encoder.state_dict())
    units |= {_HEAD + name: unit for name, unit in model.head.state_dict().items()}
    path.write_bytes(save(_contiguous(units)))


def load_classifier(path: Path, settings: Settings) -> Classifier:
    """Read what ``save_classifier`` wrote, or an export of it, into a model made for it."""
    units = load_file(path)
    head = {n.removeprefix(_HEAD): units.pop(n) for n in list(units) if n.startswith(_HEAD)}
    classes, width = head["weight"].shape
    model = Classifier(
        VisionTransformer(settings.width, settings.depth, settings.heads),
        nn.Linear(width, classes),
    )
    model.encoder.load_state_dict(units)
    model.head.load_state_dict(head)
    return model


def differing_units(one: Path, other: Path) -> list[str]:
    """Units that are not in both files with the same element type, shape and bits."""
    ones, others = load_arrays(one), load_arrays(other)

    def same(name: str) -> bool:
        if name not in ones or name not in others:
            return False
        a, b = ones[name], others[name]
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())

    return sorted(name for name in ones.keys() | others.keys() if not same(name))


def _contiguous(units: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: unit.detach().to(torch.float32).contiguous() for name, unit in units.items()}
