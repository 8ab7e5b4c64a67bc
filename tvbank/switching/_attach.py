"""Attaching a bank to a live model."""

from __future__ import annotations

import torch

from tvbank.bank.bank import Bank
from tvbank.errors import UsageError
from tvbank.switching._model import AttachedModel
from tvbank.switching._switch import Switch

#: Bytes of tasks kept in memory by default: some two hundred of a model of 22 million parameters.
RESIDENT_BYTES = 2**28


def attach(
    model: torch.nn.Module,
    bank: Bank,
    *,
    prefix: str | None = None,
    resident_bytes: int = RESIDENT_BYTES,
) -> Switch:
    """Attach a bank to a model that holds the bank's base, so that tasks can be switched.

    The model's weights are compared with the fingerprints of the base: every unit with deltas must
    be there, in the base's element type, on any device. What the model has beside that (heads of
    its own) is left alone unless a task brings weights for it.

    Args:
        model: any module.
        bank: an open bank.
        prefix: what stands before the base's names in the model, if that is not plain to see: a
            bank of a bare encoder fits a model that holds this encoder as ``bert``, once.
        resident_bytes: the most bytes of tasks that stay in memory between calls; 0 reads a task
            anew at each switch.

    Returns:
        The switch; the model is still the base.

    Raises:
        BaseMismatchError: the model is not the base; names the units that are missing or differ.
        UsageError: several prefixes fit, parameters overlap in memory, or the budget is negative.
        CheckpointError: a parameter without plain memory (meta, sparse, quantised).
    """
    if resident_bytes < 0:
        raise UsageError(f"resident_bytes must be at least 0, got {resident_bytes}")
    return Switch(AttachedModel(model, bank.layout, prefix), bank, resident_bytes)
