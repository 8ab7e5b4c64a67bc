"""A model small enough to learn in tests, and a fine-tune of it that matters."""

import copy

import torch
from torch import nn

import tvbank
from tvbank.storage import MemoryStorage


def model(seed=0):
    """8 -> 24 -> 24 -> 4, with a unit that its forward pass does not use."""
    torch.manual_seed(seed)
    made = nn.Sequential(
        nn.Linear(8, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 4)
    )
    made.register_parameter("unused", nn.Parameter(torch.zeros(40)))
    return made


def tuned(base, size=0.5, seed=1):
    """The state of a fine-tune: a few large changes among small ones."""
    generator = torch.Generator().manual_seed(seed)
    state = copy.deepcopy(base.state_dict())
    for tensor in state.values():
        step = torch.randn(tensor.shape, generator=generator) ** 3
        tensor += size * 0.1 * step
    return state


def inputs(examples=40, seed=2):
    return torch.randn(examples, 8, generator=torch.Generator().manual_seed(seed))


def bank(base):
    return tvbank.create(MemoryStorage(), base=base.state_dict(), chunk_length=256)
