"""Entropy of the changes between two bfloat16 checkpoints.

Which entries change, by how many steps and in which direction: by themselves, and given the
exponent of the old entry. The tables are counted of the whole pair, and take nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank.checkpoint import open_checkpoint
from tvbank.compress.exact import steps_between

#: Exponents of bfloat16, and sizes of its steps modulo 2**16: 0 to 2**15.
_EXPONENTS, _SIZES = 256, 2**15 + 1

#: Entries that are counted at once.
_TOGETHER = 2**22

_MIB = 8 * 2**20


def entropy(old: Path, new: Path) -> dict[str, Any]:
    """A row of the table: shares in MiB; signs take a bit each.

    Raises:
        ValueError: a tensor is not bfloat16.
    """
    counts = np.zeros((_EXPONENTS, _SIZES), np.int64)
    for before, after in _pieces(old, new):
        exponents = before.view(np.uint16) >> 7 & 255
        sizes = np.abs(steps_between(before, after))
        at = exponents.astype(np.int64) * _SIZES + sizes
        counts += np.bincount(at, minlength=counts.size).reshape(counts.shape)
    changed, total = int(counts[:, 1:].sum()), int(counts.sum())
    masks = np.stack([counts[:, 0], counts[:, 1:].sum(1)], 1)
    alone = _bits(masks.sum(0)) + _bits(counts[:, 1:].sum(0)) + changed
    given = sum(map(_bits, masks)) + sum(map(_bits, counts[:, 1:])) + changed
    return {
        "changed": changed / total,
        "mask + size + sign": alone / _MIB,
        "given the exponent": given / _MIB,
    }


def _pieces(old: Path, new: Path) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    with open_checkpoint(old) as before, open_checkpoint(new) as after:
        for name, spec in before.tensors.items():
            if spec.dtype != "bfloat16":
                raise ValueError(f"{old}: {name!r} is {spec.dtype}, not bfloat16")
            start, end = before.read(name).reshape(-1), after.read(name).reshape(-1)
            for first in range(0, len(start), _TOGETHER):
                piece = slice(first, first + _TOGETHER)
                yield start[piece], end[piece]


def _bits(counts: NDArray[np.int64]) -> float:
    some = counts[counts > 0]
    return float((some * np.log2(some.sum() / some)).sum())
