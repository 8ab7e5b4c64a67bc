"""What a unit's choices cost in bytes: entropy, corrected by what the encoder really makes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from tvbank.compress._choices import Choices

#: Densities at which the encoder is asked.
_DENSITIES: Final = (0.003, 0.02, 0.08, 0.3)
#: A frame's header and its checksum; one magnitude.
_FRAME_BYTES, _PATTERN_BYTES = 24 + 4, 4
#: Entries of a usual chunk; only the small change of a frame's header depends on it.
_CHUNK: Final = 2**18


@final
class Rate:
    """Predicts bytes of a unit's frames from the number of its kept entries."""

    def __init__(self, size: int, choices: Choices, ask: Callable[[float], int]) -> None:
        """Ask the encoder at a few densities.

        Args:
            size: entries of the unit.
            choices: what can be kept of it.
            ask: the exact bytes of drawing to one level with a step.
        """
        self._size, self._chunks = size, -(-size // _CHUNK)
        drawn = np.flatnonzero((choices.levels == 1) & (choices.powers == 0))
        kept = choices.kept[drawn]  # falling, as steps rise
        asked = {}
        for density in _DENSITIES:
            place = int(np.searchsorted(-kept, -density * size))
            if place < len(kept) and kept[place] < size:
                count = kept[place : place + 1]
                bare = ask(float(choices.steps[drawn[place]])) - count[0] / 8
                mask = bare - self._chunks * (_FRAME_BYTES + _PATTERN_BYTES)
                entropy = max(float(self._entropy(count)[0]), 1e-9)
                asked[float(count[0])] = math.log(max(mask / entropy, 0.05))
        self._places = np.log(np.array(sorted(asked), np.float64))
        self._factors = np.array([asked[count] for count in sorted(asked)])

    def predict(self, choices: Choices) -> NDArray[np.float64]:
        """Bytes of each choice, float64 [c]; 0 for keeping nothing."""
        kept = choices.kept
        mask = self._entropy(kept)
        if self._places.size:
            places = np.log(np.maximum(kept, 1))
            mask = mask * np.exp(np.interp(places, self._places, self._factors))
        patterns = np.where(choices.levels > 1, 2 * choices.levels, 1)
        bits = 1 + np.log2(np.maximum(choices.levels, 1))
        chunks = np.minimum(kept, self._chunks)
        heads = chunks * (_FRAME_BYTES + patterns * _PATTERN_BYTES)
        sizes: NDArray[np.float64] = mask + kept * bits / 8 + heads
        return sizes

    def _entropy(self, kept: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bytes that a mask needs whose entries are independent."""
        share = np.minimum(kept / max(self._size, 1), 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            bits = -share * np.log2(share) - (1 - share) * np.log2(1 - share)
        entropy: NDArray[np.float64] = self._size * np.nan_to_num(bits) / 8
        return entropy
