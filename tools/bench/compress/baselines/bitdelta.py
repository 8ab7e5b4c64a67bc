"""BitDelta (arXiv 2402.10193): the sign of every entry, one scale a matrix.

The paper starts from the scale that is best in least squares, the mean magnitude, then distils the
scales on data; without data the start is what there is. ``rms`` gives the unit its norm back.
It binarises the matrices of the blocks and keeps all else as it is. Here vectors stay as they are,
and embeddings are binarised too: kept, they alone would be half of a small language model.
Entries that did not move stay zero, which costs less than a sign.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from tools.bench.compress.baselines._dense import Dense


@final
@dataclass(frozen=True)
class BitDelta(Dense):
    scale: Literal["mean", "rms"] = "mean"

    def describe(self) -> dict[str, Any]:
        return {"name": "bitdelta", "scale": self.scale}

    def approximate(self, unit: str, delta: NDArray[np.float32]) -> NDArray[np.float32]:
        if delta.ndim < 2 or not delta.any():
            return delta
        magnitudes = np.abs(delta[delta != 0]).astype(np.float64)
        scale = magnitudes.mean() if self.scale == "mean" else np.sqrt(np.square(magnitudes).mean())
        return np.sign(delta) * np.float32(scale)
