"""What the tests of switching share: models of every kind, fine-tunes of them, bits."""

from __future__ import annotations

import torch
from safetensors.torch import load_file
from torch import nn

import tvbank
from tvbank.storage import MemoryStorage

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Mixed(nn.Module):
    """Several element types, 0-d, empty, permuted, shared and frozen parameters, buffers."""

    def __init__(self):
        super().__init__()
        self.single = nn.Linear(11, 7)
        self.half = nn.Linear(7, 5).half()
        self.brain = nn.Linear(5, 6).bfloat16()
        self.double = nn.Linear(3, 2).double()
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.nothing = nn.Parameter(torch.zeros(0, 3))
        self.permuted = nn.Parameter(torch.randn(4, 3, 5, 2).permute(0, 2, 3, 1))
        self.column = nn.Parameter(torch.randn(6, 4)[:, 1])
        self.permuted_half = nn.Parameter(torch.randn(9, 8).to(torch.float16).T)
        self.frozen = nn.Parameter(torch.randn(33), requires_grad=False)
        self.register_buffer("mean", torch.randn(20))
        self.register_buffer("steps", torch.tensor(7))
        self.register_buffer("mask", torch.tensor([True, False, True]))
        self.register_buffer("passing", torch.zeros(3), persistent=False)


class Convolution(nn.Module):
    """A small network with batch normalisation, in the memory format of images."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten()
        )
        self.head = nn.Linear(8 * 4 * 4, 5)
        self.to(memory_format=torch.channels_last)

    def forward(self, images):
        return self.head(self.layers(images))


class Tied(nn.Module):
    """A language model's embedding that is its output, and a layer that is used twice."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(40, 16)
        self.layer = nn.Linear(16, 16)
        self.again = self.layer
        self.unembed = nn.Linear(16, 40, bias=False)
        self.unembed.weight = self.embed.weight


def perceptron(dtype=torch.float32, width=24):
    """A plain network of two layers."""
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 5)).to(dtype)


MODELS = {
    "perceptron": perceptron,
    "perceptron of halves": lambda: perceptron(torch.float16),
    "perceptron of bfloat16": lambda: perceptron(torch.bfloat16),
    "mixed": Mixed,
    "convolution": Convolution,
    "tied": Tied,
}


def state_of(model):
    """A copy of a state dict; what shares memory shares it in the copy."""
    copies = {}
    state = {}
    for name, tensor in model.state_dict().items():
        key = (tensor.data_ptr(), tensor.shape, tensor.stride()) if tensor.numel() else name
        state[name] = copies.setdefault(key, tensor.clone())
    return state


def fine_tune(state, seed=1, scale=0.05):
    """Every floating-point tensor moved, every other left; ties kept."""
    generator = torch.Generator().manual_seed(seed)
    moved = {}
    tuned = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            tuned[name] = tensor.clone()
        elif tensor.data_ptr() in moved and tensor.numel():
            tuned[name] = moved[tensor.data_ptr()]
        else:
            step = scale * torch.randn(tensor.shape, generator=generator)
            tuned[name] = moved[tensor.data_ptr()] = (tensor + step.to(tensor.dtype)).contiguous()
    return tuned


def bank_of(state, tunes, chunk_length=64, storage=None, **options):
    """A bank in memory: each fine-tune at a drop of 0.7, and exactly as ``name-exact``."""
    bank = tvbank.create(storage or MemoryStorage(), base=state, chunk_length=chunk_length)
    for name, tuned in tunes.items():
        bank.add(name, tuned, tvbank.TSwitch(drop=0.7), base=state, **options)
        bank.add(f"{name}-exact", tuned, tvbank.Exact(), base=state, **options)
    return bank


def attached(model=None):
    """A model (two layers, if none is given), its state, and a switch over two fine-tunes."""
    torch.manual_seed(0)
    model = perceptron() if model is None else model
    state = state_of(model)
    tunes = {"a": fine_tune(state, 1), "b": fine_tune(state, 2)}
    return model, state, tvbank.attach(model, bank_of(state, tunes))


def bits(source):
    """Every bit of a state, or of a model's, by name."""
    state = source if isinstance(source, dict) else source.state_dict()
    return {
        name: tensor.detach().clone().contiguous().view(_INTEGERS[tensor.element_size()])
        for name, tensor in state.items()
    }


def assert_same(found, wanted):
    """Every tensor of ``wanted`` is in ``found``, bit for bit."""
    found, wanted = bits(found), bits(wanted)
    differing = [name for name in wanted if not torch.equal(found[name], wanted[name])]
    assert not differing


def exported(bank, task, state, folder):
    """What ``tvbank.export`` writes for a task."""
    return load_file(tvbank.export(bank, task, base=state, out=folder / "exported.safetensors"))
