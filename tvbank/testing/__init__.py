"""Hypothesis strategies for what tvbank reads and writes, public so that others can test with them.

- ``chunks``       chunks of every shape of mask and kind of value, frames, damaged frames
- ``state_dicts``  state dicts of a base model, and fine-tunes of them

They need hypothesis, which the extra ``test`` brings.
"""

from __future__ import annotations

from tvbank.testing.chunks import Chunk as Chunk
from tvbank.testing.chunks import chunks as chunks
from tvbank.testing.chunks import frames as frames
from tvbank.testing.chunks import hints as hints
from tvbank.testing.chunks import lengths as lengths
from tvbank.testing.chunks import masks as masks
from tvbank.testing.chunks import mutated_frames as mutated_frames
from tvbank.testing.chunks import values as values
from tvbank.testing.state_dicts import StateDict as StateDict
from tvbank.testing.state_dicts import arrays as arrays
from tvbank.testing.state_dicts import dtype_names as dtype_names
from tvbank.testing.state_dicts import fine_tunes as fine_tunes
from tvbank.testing.state_dicts import shapes as shapes
from tvbank.testing.state_dicts import state_dicts as state_dicts
from tvbank.testing.state_dicts import tensor_names as tensor_names
