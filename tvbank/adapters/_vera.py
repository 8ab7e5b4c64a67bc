"""VeRA's projections: two random matrices that all modules share, read or drawn again by a key.

PEFT draws both from one generator of torch, a Mersenne twister, evenly within Kaiming's bound.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank.adapters._open import Adapter
from tvbank.adapters._places import Places
from tvbank.errors import CheckpointError

_Floats = NDArray[np.float32]


def projections(adapter: Adapter, places: Places) -> tuple[_Floats, _Floats]:
    """A, [rank, inputs], and B, [outputs, rank], as large as the largest module needs.

    Raises:
        CheckpointError: the file has one of them; or neither, and the configuration no key.
    """
    shared = adapter.shared
    if set(shared) == {"vera_A", "vera_B"}:
        a, b = (np.asarray(adapter.read(shared[name])) for name in ("vera_A", "vera_B"))
        return a.astype(np.float32), b.astype(np.float32)
    key: Any = adapter.config.body.get("projection_prng_key")
    if shared or type(key) is not int or key < 0:
        raise CheckpointError(
            f"{adapter.source} has not both of its projections, nor the key that they are drawn by "
            "(projection_prng_key): save it with save_projection=True"
        )
    outputs = inputs = 0
    for module, parts in adapter.modules.items():
        rows = adapter.spec(parts["vera_lambda_b"]).size
        unit = places.unit(f"{module}.weight")
        outputs, inputs = max(outputs, rows), max(inputs, unit.size // rows)
    rank = max(adapter.spec(parts["vera_lambda_d"]).size for parts in adapter.modules.values())
    twister = np.random.RandomState(key & 0xFFFFFFFF)
    return _drawn(twister, (rank, inputs)), _drawn(twister, (outputs, rank))


def _drawn(twister: np.random.RandomState, shape: tuple[int, int]) -> _Floats:
    """Evenly within the square root of 6 over the number of columns, as torch makes floats."""
    bits = twister.randint(0, 2**32, size=shape, dtype=np.uint32) & np.uint32(2**24 - 1)
    bound = math.sqrt(3) * math.sqrt(2) / math.sqrt(shape[1])
    even = bits.astype(np.float32) * np.float32(2**-24)
    drawn: _Floats = even * np.float32(bound - -bound) + np.float32(-bound)
    return drawn
