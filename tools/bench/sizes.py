"""Bytes of a task against generic codes, and against peers that store deltas.

    python -m tools.bench sizes [--base FILE --tuned FILE...] [--quick] [--json]

Peers that are not installed (extra ``bench``) are listed as such.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numcodecs.zstd import Zstd

import tvbank
from tools.bench import _codes, _peers
from tools.bench._checkpoints import Checkpoints, compare, pairs_of
from tools.bench._measure import Row
from tvbank.coding import read_header
from tvbank.storage import MemoryStorage

DENSITIES = (0.001, 0.01, 0.05, 0.1, 0.3, 0.5)
#: [entries] of the synthetic unit.
SYNTHETIC = (4096, 1024)
DROP = 0.9


def rows(given: Checkpoints, _: Path, arguments: argparse.Namespace) -> Iterator[Row]:
    yield from synthetic(arguments.quick)
    yield from real(given, arguments.quick)


def synthetic(quick: bool) -> Iterator[Row]:
    """Gaussian deltas, of which T-Switch keeps independent entries of a density."""
    random = np.random.default_rng(0)
    delta = random.standard_normal(SYNTHETIC, dtype=np.float32) * np.float32(1e-3)
    base = {"unit": np.zeros(SYNTHETIC, np.float32)}
    for density in DENSITIES:
        bank = tvbank.create(MemoryStorage(), base=base)
        task = bank.add("task", {"unit": delta}, tvbank.TSwitch(drop=round(1 - density, 4)))
        kept = _kept(task)
        for name, function, package in _codes.BASELINES:
            yield _size(f"i.i.d. {density:.1%}", task.stored_bytes, name, package, function, kept)
        if not quick:
            for package, how, peer in _peers.SWITCHED:
                against = f"{package}, {how}"
                yield _size(
                    f"i.i.d. {density:.1%}", task.stored_bytes, against, package, peer, kept
                )


def real(given: Checkpoints, quick: bool) -> Iterator[Row]:
    """The fine-tunes: T-Switch tasks, then exact ones."""
    for path in given.tuned:
        what = path.stem
        bank = tvbank.create(MemoryStorage(), base=given.base)
        task = bank.add("switched", path, tvbank.TSwitch(drop=DROP), replace_mismatched=True)
        kept = _kept(task)
        masks = sum(
            read_header(frame.data).mask_bytes for name in task for frame in task.frames(name)
        )
        yield Row(
            f"{what}: masks, drop {DROP}", "Shannon, i.i.d. per unit", masks,
            _codes.shannon_mask(kept), "bytes", 0.86,
        )  # fmt: skip
        rows = [
            _size(f"{what}: task, drop {DROP}", task.stored_bytes, name, package, function, kept)
            for name, function, package in _codes.BASELINES
        ]
        generic = [row.theirs for row in rows[1:] if row.theirs is not None]
        yield from rows
        yield Row(
            f"{what}: task, drop {DROP}", "the best of the generic ones", task.stored_bytes,
            min(generic), "bytes", 0.98, note=_extras(task),
        )  # fmt: skip
        for package, how, peer in _peers.SWITCHED:
            against = f"{package}, {how}"
            yield _size(
                f"{what}: task, drop {DROP}", task.stored_bytes, against, package, peer, kept
            )
        exact = bank.add("exact", path, tvbank.Exact(), replace_mismatched=True)
        yield from _exact(what, exact.stored_bytes, pairs_of(given.base, path), quick)


def _exact(what: str, ours: int, pairs: _peers.Pairs, quick: bool) -> Iterator[Row]:
    what = f"{what}: exact task"
    whole = sum(tuned.nbytes for _, tuned in pairs.values())
    yield Row(what, "the fine-tune itself", ours, whole, "bytes")
    if not quick:
        yield Row(
            what, "byte planes of base XOR fine-tune + zstd-19", ours, _planes(pairs), "bytes"
        )
    for package, how, peer in _peers.EXACT:
        yield _size(what, ours, f"{package}, {how}", package, peer, pairs)


def _planes(pairs: _peers.Pairs) -> int:
    """The strongest generic way: all first bytes, all second bytes, …, each plane compressed."""
    total = 0
    for width in {tuned.dtype.itemsize for _, tuned in pairs.values()}:
        xor = [
            np.ascontiguousarray(base).view(np.uint8) ^ np.ascontiguousarray(tuned).view(np.uint8)
            for base, tuned in pairs.values()
            if tuned.dtype.itemsize == base.dtype.itemsize == width
        ]
        rows = np.concatenate([array.reshape(-1) for array in xor]).reshape(-1, width)
        for plane in range(width):
            total += len(Zstd(level=19).encode(np.ascontiguousarray(rows[:, plane])))
    return total


def _kept(task: tvbank.Task) -> list[_codes.Kept]:
    return [_codes.Kept(task[name].shape, *sparse) for name, sparse in task.to_sparse().items()]


def _extras(task: tvbank.Task) -> str:
    kept = sum(array.nbytes for array in task.extras.values())
    return f"ours includes {kept} bytes of units kept whole" if kept else ""


def _size(
    what: str,
    ours: int,
    against: str,
    package: str,
    function: Callable[..., float],
    argument: object,
) -> Row:
    try:
        return Row(what, against, ours, float(function(argument)), "bytes")
    except ImportError as error:
        return Row(what, against, ours, None, "bytes", note=f"{package} is not installed ({error})")
    except _peers.CannotError as error:
        return Row(what, against, ours, None, "bytes", note=f"cannot: {error}")


if __name__ == "__main__":
    compare(__doc__, rows)
