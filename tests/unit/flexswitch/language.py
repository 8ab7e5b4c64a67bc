"""A small language model without layers of transformers, sequences for it, and learning."""

import banks
import small
import torch
from torch import nn

import tvbank

VOCABULARY = 40


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix, self.norm = nn.Linear(16, 16), nn.LayerNorm(16)
        self.register_buffer("scale", torch.tensor(0.5))

    def forward(self, states, *, mask):
        seen = (states * mask[..., None]).cumsum(1)  # a token sees itself and those before it
        return states + self.scale * torch.tanh(self.mix(self.norm(seen)))


class Language(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.tokens = nn.Embedding(VOCABULARY, 16)
        self.blocks = nn.ModuleList([Block(), Block(), Block()])
        self.head = nn.Linear(16, VOCABULARY)
        self.calls = 0

    def get_input_embeddings(self):
        return self.tokens

    def forward(self, input_ids, attention_mask):
        self.calls += 1
        states = self.tokens(input_ids)
        for block in self.blocks:
            states = block(states, mask=attention_mask.float())
        return {"logits": self.head(states), "states": states}


def inputs(examples=24, tokens=7):
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(1, VOCABULARY, (examples, tokens), generator=generator)
    mask = torch.ones_like(ids)
    for number in range(examples):
        mask[number, 1 + number % tokens :] = 0
    return {"input_ids": ids * mask, "attention_mask": mask}


def learned(base, given=None, **options):
    """The numbers that a bank holds after learning."""
    bank = small.bank(base)
    options = {"steps": 12, "batch": 8, "lam": 2.0} | options
    flex = tvbank.FlexSwitch(base, inputs() if given is None else given, **options)
    numbers = banks.numbers(bank.add("t", small.tuned(base), flex))
    return {name: number for name, number in numbers.items() if name != "revision"}
