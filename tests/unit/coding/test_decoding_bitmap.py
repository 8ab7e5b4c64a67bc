"""Bitmaps are listed alike with and without the instruction that packs the numbers of bits."""

import numpy as np
import pytest

from tvbank.coding.decoding import bitmap
from tvbank.coding.decoding.bitmap import are_many, list_ones
from tvbank.coding.kernel import kernel

by_steps = kernel(bitmap._list_by_steps.py_func)


def address_of(array):
    return np.uint64(array.ctypes.data)


def listed(loop, ones, phase, wanted_each, many):
    """All positions, listed some at a time, and what lies after them."""
    words = np.packbits(ones, bitorder="little").view(np.uint64)
    count = int(ones.sum())
    out = np.full(count + 16, 0xABCD, np.uint32)
    word = found = 0
    while found < count:
        wanted = min(count, found + wanted_each)
        word, found = loop(
            address_of(words), word, np.uint64(phase), found, wanted, count, address_of(out), many
        )
        assert found >= wanted
    assert (out[count:] == 0xABCD).all()
    return out[:count]


@pytest.mark.parametrize("density", [0.0, 0.001, 0.03, 0.2, 0.5, 0.97, 1.0])
def test_every_density(density):
    ones = np.random.default_rng(7).random(64 * 200) < density
    ones[777] = True
    places = np.flatnonzero(ones)
    for phase in (0, int(places[0])):
        expected = (places - phase).astype(np.uint32)
        for loop in (list_ones, by_steps):
            for wanted_each in (1, 64, len(places)):
                for many in (are_many(len(places), ones.size), False, True):
                    found = listed(loop, ones, phase, wanted_each, many)
                    np.testing.assert_array_equal(found, expected)
