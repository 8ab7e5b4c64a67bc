"""What the tests of artefacts share: a small base, and its weights with an artefact from a bank."""

import tempfile

import numpy as np
import torch

import tvbank
from tvbank.checkpoint import open_checkpoint

SHAPES = {"a.weight": (32, 64), "b.weight": (96, 32), "norm.weight": (32,), "one.bias": (1,)}


def base_model(dtype=torch.float32):
    """A few tensors; b's inputs are 32, a's 64."""
    torch.manual_seed(0)
    return {name: torch.randn(shape).to(dtype) for name, shape in SHAPES.items()}


def restored(base, artefact, **given):
    """The weights that a bank gives back of an artefact added with ``Exact``, as arrays."""
    with tempfile.TemporaryDirectory() as folder:
        bank = tvbank.create(f"{folder}/bank", base)
        bank.add("t", artefact, tvbank.Exact(), given=given)
        assert bank.verify() == []
        path = tvbank.export(bank, "t", out=f"{folder}/out.safetensors")
        with open_checkpoint(path) as checkpoint:
            return {name: checkpoint.read(name).copy() for name in checkpoint.tensors}


def bits_of(weights):
    """Element type, shape and bytes of every tensor or array."""
    found = {}
    with open_checkpoint({name: _plain(value) for name, value in weights.items()}) as checkpoint:
        for name in sorted([*checkpoint.tensors, *checkpoint.tied]):
            array = checkpoint.read(name)
            found[name] = (array.dtype.name, array.shape, array.tobytes())
    return found


def _plain(value):
    return value.contiguous() if isinstance(value, torch.Tensor) else np.ascontiguousarray(value)
