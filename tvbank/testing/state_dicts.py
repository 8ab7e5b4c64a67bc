"""Strategies for state dicts: a base model's tensors, and fine-tunes of them.

Arrays are drawn as bit patterns, so that every value of an element type can come up: NaN payloads,
infinities, −0.0 and subnormal numbers, unless ``finite`` is asked for.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tvbank.dtypes import DTYPES, UNIT_DTYPES
from tvbank.vector.evidence import is_bare_difference

__all__ = [
    "StateDict",
    "arrays",
    "dtype_names",
    "fine_tunes",
    "shapes",
    "state_dicts",
    "tensor_names",
]

StateDict: TypeAlias = dict[str, np.ndarray[Any, np.dtype[Any]]]


def tensor_names() -> st.SearchStrategy[str]:
    """Names such as models have them, and stranger ones: spaces, slashes, letters of any script."""
    dotted = st.lists(
        st.sampled_from(["encoder", "layer", "0", "11", "weight", "bias"]), min_size=1
    )
    strange = st.text(
        st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12
    ).filter(lambda name: name != "__metadata__")
    return dotted.map(".".join) | strange


def shapes(max_dims: int = 3, max_side: int = 5) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes of small tensors, scalars ``()`` and empty ones among them."""
    return hnp.array_shapes(min_dims=0, max_dims=max_dims, min_side=0, max_side=max_side)


def dtype_names(units_only: bool = False) -> st.SearchStrategy[str]:
    """Names of element types.

    Args:
        units_only: only those that have task vectors (``tvbank.dtypes.UNIT_DTYPES``).
    """
    return st.sampled_from(UNIT_DTYPES if units_only else tuple(DTYPES))


@st.composite
def arrays(
    draw: st.DrawFn, dtype: str, shape: tuple[int, ...], *, finite: bool = False
) -> np.ndarray[Any, np.dtype[Any]]:
    """An array of any bit patterns.

    Args:
        draw: given by hypothesis.
        dtype: a key of ``tvbank.dtypes.DTYPES``.
        shape: the array's shape.
        finite: 0 in the place of every NaN and infinity.

    Returns:
        A C-contiguous, little-endian array of that element type and shape.
    """
    element = DTYPES[dtype]
    width = element.itemsize
    raw = draw(hnp.arrays(np.uint8, (*shape, width)))
    if dtype == "bool":
        raw &= 1
    array = np.frombuffer(raw.tobytes(), element).reshape(shape).copy()
    if finite and element.kind not in "biu":
        with np.errstate(all="ignore"):
            array[~np.isfinite(array)] = 0
    return array


_NAMES, _DTYPES, _SHAPES = tensor_names(), dtype_names(), shapes()


@st.composite
def state_dicts(
    draw: st.DrawFn,
    *,
    names: st.SearchStrategy[str] = _NAMES,
    dtypes: st.SearchStrategy[str] = _DTYPES,
    tensor_shapes: st.SearchStrategy[tuple[int, ...]] = _SHAPES,
    finite: bool = False,
    min_size: int = 0,
    max_size: int = 5,
) -> StateDict:
    """A state dict of numpy arrays, each with its own storage.

    Args:
        draw: given by hypothesis.
        names: of the tensors; by default ``tensor_names()``.
        dtypes: of the tensors; by default ``dtype_names()``.
        tensor_shapes: of the tensors; by default ``shapes()``.
        finite: no NaN and no infinity.
        min_size: the smallest number of tensors.
        max_size: the largest number of tensors.
    """
    unique = st.lists(names, unique=True, min_size=min_size, max_size=max_size)
    return {
        name: draw(arrays(draw(dtypes), draw(tensor_shapes), finite=finite))
        for name in draw(unique)
    }


@st.composite
def fine_tunes(draw: st.DrawFn, base: StateDict, *, finite: bool = False) -> StateDict:
    """A fine-tune of a base: the same names, shapes and element types, other weights.

    Each tensor stays as it is, moves a little in some entries (as training moves it), or is drawn
    anew, unless a bank would take it for a difference then. Tensors without task vectors (integers,
    float8…) stay or are drawn anew.

    Args:
        draw: given by hypothesis.
        base: the state dict to fine-tune; it is left alone.
        finite: neither NaN nor infinity among what is drawn anew or moved.
    """
    return {name: draw(_tuned(array, finite)) for name, array in base.items()}


@st.composite
def _tuned(
    draw: st.DrawFn, array: np.ndarray[Any, np.dtype[Any]], finite: bool
) -> np.ndarray[Any, np.dtype[Any]]:
    dtype = array.dtype.name
    how = draw(st.sampled_from(["same", "moved", "anew"]))
    if how == "anew":
        anew = draw(arrays(dtype, array.shape, finite=finite))
        return array.copy() if _looks_like_difference(array, anew) else anew
    if how == "same" or dtype not in UNIT_DTYPES:
        return array.copy()
    steps = draw(hnp.arrays(np.int8, array.shape, fill=st.just(0)))
    scale = draw(st.sampled_from([2.0**-12, 2.0**-8, 1.0]))
    with np.errstate(all="ignore"):
        moved = (array.astype(np.float32) + steps * np.float32(scale)).astype(array.dtype)
        wrong = finite & ~np.isfinite(moved)
    moved = np.where((steps == 0) | wrong, array, moved)
    return array.copy() if _looks_like_difference(array, moved) else moved


def _looks_like_difference(base: np.ndarray[Any, Any], tuned: np.ndarray[Any, Any]) -> bool:
    """Whether many such weights would be refused as a difference from the base."""
    if base.dtype.name not in UNIT_DTYPES:
        return False
    return is_bare_difference([(np.tile(base.reshape(-1), 64), np.tile(tuned.reshape(-1), 64))])
