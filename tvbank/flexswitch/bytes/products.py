"""What ``Budget`` makes of a task with products, as weights that the examples can judge.

No error of weights foretells whether products do better than entries (docs/measured/gemma.md); the
distance of outputs says it. Products are not learned: they are the fine-tune's own largest singular
values.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.packed import unpack_factors
from tvbank.coding.product import product_entries
from tvbank.compress import Budget, Pairs
from tvbank.compress.lossy import Planned
from tvbank.compress.protocol import Entries
from tvbank.flexswitch._weights import Fill, Weights


def plan_products(pairs: Pairs, budget: str) -> Planned:
    """What to keep of every unit, some as products."""
    return Budget(budget, products=True).plan(pairs)


def filling_of(planned: Planned, pairs: Pairs, weights: Weights) -> Fill:
    """The base plus what is kept of every unit."""
    shapes = {unit.name: unit.shape for unit in pairs.units}

    @cache
    def entries(number: int) -> Entries:
        name = weights.names[number]
        product = planned.packed_products.get(name)
        if product is None:
            return planned.prepare(name, *weights.both(number))
        rows, size = shapes[name][0], weights.sizes[number]
        b, a = unpack_factors(product.data, rows, size // rows, product.rank)
        return lambda start, stop: product_entries(b, a, np.float32(1), start, stop)

    def fill(number: int, start: int, stop: int, out: NDArray[np.float32]) -> None:
        out[:] = weights.block(number, start, stop)[0]
        out += entries(number)(start, stop)

    return fill
