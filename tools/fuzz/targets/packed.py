"""Packed factors: the fast reader and the reference unpack the same numbers, or both refuse.

The first three bytes: the rows of B, the columns of A, and the rank.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from spec.reference.layout import Tensor
from spec.reference.products import ProductRecord, _unpacked
from tools.fuzz._agreement import attempt
from tools.fuzz._mutate import mutate_bytes
from tvbank.coding.packed import pack_factors, unpack_factors
from tvbank.dtypes import DTYPES
from tvbank.errors import FormatError


def seeds() -> Iterator[bytes]:
    dice = np.random.default_rng(0)
    for rows, columns, count in ((1, 1, 1), (3, 8, 2), (9, 5, 5), (40, 30, 4), (2, 2, 0)):
        for size in (0.3, 2, 400, 1e6):
            drawn = dice.normal(size=(count, rows + columns)) * size
            levels = np.clip(np.rint(drawn), -32767, 32767).astype(np.int32)
            steps = dice.normal(size=count).astype(DTYPES["bfloat16"]).view(np.uint16)
            body = pack_factors(levels, steps, rows)
            yield bytes([rows, columns, max(1, count)]) + body


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Change the factors, and rarely their sides."""
    if seed % 8 == 0:
        return mutate_bytes(data, max_size)
    return data[:3] + mutate_bytes(data[3:] or b"\0", max_size - 3)


def check(data: bytes) -> None:
    if len(data) < 5:
        return
    rows, columns, rank, body = 1 + data[0] % 64, 1 + data[1] % 64, 1 + data[2] % 64, data[3:]
    unit = Tensor("w", "float32", (rows, columns))
    record = ProductRecord("w", "packed", rank, 1.0, False, len(body) + 4)

    def fast() -> tuple[list[float], list[float]]:
        try:
            b, a = unpack_factors(body, rows, columns, rank)
        except ValueError as error:
            raise FormatError("product", str(error)) from error
        return b.reshape(-1).tolist(), a.reshape(-1).tolist()

    one, other = attempt(fast), attempt(lambda: _unpacked(unit, record, body, rows, columns)[1:])
    assert one.reason == other.reason, (one, other)
    assert one.read == other.read
