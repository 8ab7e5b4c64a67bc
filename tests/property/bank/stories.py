"""Strategies of the bank's tests: a base, a fine-tune of it, and what a bank must give back."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import safetensors
from hypothesis import strategies as st

from tvbank.dtypes import ELEMENT_TYPES, UNIT_DTYPES
from tvbank.testing.state_dicts import arrays, dtype_names, fine_tunes, shapes, state_dicts


@dataclass(frozen=True)
class Grid:
    """How a bank is cut up, and from what size on several cores work on one unit."""

    chunk_length: int
    chunks_per_shard: int
    large: int
    window: int

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Cut banks that are created meanwhile in this way; units are small, so limits are, too."""
        with (
            mock.patch("tvbank.layout._TARGET_CHUNKS_PER_SHARD", self.chunks_per_shard),
            mock.patch("tvbank.bank.encoder.LARGE", self.large),
            mock.patch("tvbank.merging._assemble.LARGE", self.large),
            mock.patch("tvbank.bank.ahead.WINDOW", self.window),
        ):
            yield


#: Chunks and shards that make the small units of the strategies span several of them.
grids = st.builds(
    Grid,
    chunk_length=st.sampled_from([1, 2, 7, 64]),
    chunks_per_shard=st.sampled_from([1, 2, 3, 256]),
    large=st.sampled_from([1, 4, 2**21]),
    window=st.sampled_from([1, 100, 2**26]),
)

Weights = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Story:
    """A base, a fine-tune, and the checkpoint that an exact task of it must be exported as."""

    base: Weights
    tuned: Weights
    restored: Weights


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Fine-tunes as they come: moved or new weights, heads, buffers, ties and resized units."""
    base = draw(state_dicts(min_size=1))
    tuned = draw(fine_tunes(base))
    for name, array in base.items():
        if array.dtype.name in UNIT_DTYPES and draw(st.integers(0, 5)) == 0:  # resized
            tuned[name] = draw(arrays(draw(dtype_names(units_only=True)), draw(shapes())))
    restored = base | tuned
    # Empty tensors have no storage to share.
    for alias, owner in draw(_ties([name for name in base if base[name].size])).items():
        base[alias] = base[owner]
        restored[alias] = restored[owner]
        if owner not in tuned:
            continue
        match draw(st.sampled_from(["tied", "copied", "left out", "renamed", "untied"])):
            case "tied":
                tuned[alias] = tuned[owner]
            case "copied":
                tuned[alias] = tuned[owner].copy()
            case "renamed":
                tuned[alias] = tuned.pop(owner)
            case "untied":
                array = draw(arrays(draw(dtype_names(units_only=True)), draw(shapes())))
                tuned[alias] = restored[alias] = array
    heads = draw(state_dicts(max_size=2))
    heads = {name: array for name, array in heads.items() if name not in base}
    return Story(base, tuned | heads, restored | heads)


@st.composite
def _ties(draw: st.DrawFn, names: list[str]) -> dict[str, str]:
    """At most one alias for some tensors."""
    owners = draw(st.sets(st.sampled_from(names), max_size=2)) if names else ()
    return {f"{owner} again": owner for owner in names if owner in owners}


@st.composite
def models(draw: st.DrawFn) -> tuple[Weights, Weights, Weights]:
    """A finite base and two finite fine-tunes of it, without anything to keep whole."""
    base = draw(state_dicts(dtypes=dtype_names(units_only=True), finite=True, min_size=1))
    return base, draw(fine_tunes(base, finite=True)), draw(fine_tunes(base, finite=True))


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """An empty folder; hypothesis runs many examples in one test, so fixtures do not help."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def bits(array: np.ndarray[Any, Any]) -> tuple[str, tuple[int, ...], bytes]:
    """What must be the same of two arrays."""
    return array.dtype.name, array.shape, array.tobytes()


def bits_of(weights: Weights) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """What must be the same of two checkpoints."""
    return {name: bits(array) for name, array in weights.items()}


def bits_in(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """The tensors of a safetensors file as the safetensors library reads them."""
    names = {row.code: name for name, row in ELEMENT_TYPES.items()}
    return {
        name: (names[tensor["dtype"]], tuple(tensor["shape"]), bytes(tensor["data"]))
        for name, tensor in safetensors.deserialize(path.read_bytes())
    }
