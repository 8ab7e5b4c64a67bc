"""Fixed tables of run lengths: how many zeros come before a one, where ones are so dense.

A density is rounded to a floating-point number of 4 significant bits (the middle of its step), so
that no table has to be stored. In an i.i.d. mask the run lengths are geometric. A table holds run
lengths 0 .. t − 1 and, marked, an escape: t zeros, after which all begins again, as a geometric law
allows. Below a density of 1/32 runs are counted in units of 2^s entries, and s plain bits tell
the rest. The exact construction is in spec/masks.md, "Densities".
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.kernel import kernel
from tvbank.coding.rans import SLOTS, fill_table

#: Octaves of densities below a half, and of the densities of zeros below a half.
_SPARSE_OCTAVES, _DENSE_OCTAVES = 4, 8
_STEPS: Final = 8
_SPARSE_TABLES: Final = _SPARSE_OCTAVES * _STEPS
TABLES: Final = _SPARSE_TABLES + _DENSE_OCTAVES * _STEPS
#: Longest run length with a symbol of its own, + 1.
RUN_LIMIT: Final = 63
#: Greatest s.
UNIT_LIMIT: Final = 16
#: The mark of the escape.
ESCAPE: Final = 128

_HALF, _ONE = 1 << 31, 1 << 32


@kernel
def density_step(ones: Any, cells: Any) -> Any:
    """(number of the table, s) for 1 <= ``ones`` of ``cells`` < 2^25 entries."""
    share = (ones << 32) // cells
    unit = 0
    dense = share > _HALF
    if dense:
        share = _ONE - share
    octaves = _DENSE_OCTAVES if dense else _SPARSE_OCTAVES
    octave = 0
    while share <= _HALF >> 1 and octave < octaves - 1:
        share <<= 1
        octave += 1
    if not dense:
        while share <= _HALF >> 1 and unit < UNIT_LIMIT:
            share <<= 1
            unit += 1
    step = max(0, ((share - 1) >> 27) - 8)
    return (_SPARSE_TABLES if dense else 0) + octave * _STEPS + step, unit


@kernel
def _fill(tables: Any, starts: Any) -> None:
    for table in range(TABLES):
        dense = table >= _SPARSE_TABLES
        place = table - _SPARSE_TABLES if dense else table
        share = (2 * (place % _STEPS) + 17) << (10 - place // _STEPS)
        stay = share if dense else (1 << 16) - share
        tail = SLOTS << 16
        left = SLOTS
        run = 0
        while True:
            starts[table * (RUN_LIMIT + 2) + run] = SLOTS - left
            tail = (tail * stay) >> 16
            after = (tail + (1 << 15)) >> 16
            if run == RUN_LIMIT or after == left or after == 0:
                break
            fill_table(tables, table * SLOTS, SLOTS - left, left - after, run)
            left = after
            run += 1
        fill_table(tables, table * SLOTS, SLOTS - left, left, run | ESCAPE)
        for rest in range(run + 1, RUN_LIMIT + 2):
            starts[table * (RUN_LIMIT + 2) + rest] = SLOTS


@cache
def run_tables() -> NDArray[np.uint32]:
    """All tables, uint32 [96 · 1024], as ``rans.read_symbol`` reads them."""
    return _tables()[0]


@cache
def run_starts() -> NDArray[np.int64]:
    """First slots of all symbols, int64 [96 · 65]; the first that is 1024 follows the escape."""
    return _tables()[1]


@cache
def _tables() -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    tables = np.empty(TABLES * SLOTS, np.uint32)
    starts = np.empty(TABLES * (RUN_LIMIT + 2), np.int64)
    _fill(tables, starts)
    return tables, starts
