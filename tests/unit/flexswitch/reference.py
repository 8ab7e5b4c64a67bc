"""FlexSwitch's soft weights by the formulas of [F], in torch with autograd, in float64."""

import math

import torch
from torch.nn.functional import softplus

from tvbank.flexswitch.paper.gates import WIDTHS, Levels


def quantise(delta, facts, bits):
    """Q(τ; b) of [F] Eq. 13, entries kept on their own side of zero as ``Levels`` says."""
    positive, negative = facts.greatest
    step = (positive + negative) / 2**bits
    code = torch.clamp(torch.ceil((delta + negative) / step), 1, 2**bits) - 1
    value = (code + 0.5) * step - negative
    levels = Levels.of(facts, bits)
    lowest = value.clamp_min(levels.lowest) if positive else value
    highest = value.clamp_max(levels.highest) if negative else value
    return torch.where(delta > 0, lowest, highest)


def soft(base, tuned, facts, row, temperature):
    """Base plus softplus(κ)·M⊙Q_M(τ), and M, as functions of a unit's scalars [7]."""
    delta = (tuned - base).double()
    gate = torch.zeros_like(delta)
    for sign, logit in ((0, row[0]), (1, row[1])):
        start, length = facts.range(sign)
        if length:
            threshold = start + (torch.atan(logit) / math.pi + 0.5) * length
            side = delta if sign == 0 else -delta
            gate = gate + torch.sigmoid((side - threshold) / (temperature * length))
    gate = gate * (delta != 0)
    shares = torch.softmax(row[3:] / temperature, 0)
    mixed = sum(s * quantise(delta, facts, b) for s, b in zip(shares, WIDTHS, strict=True))
    return base.double() + softplus(row[2]) * gate * mixed, gate
