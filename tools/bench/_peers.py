"""Installable packages that store a fine-tune as a delta, each at the best it can do.

For a task of one magnitude a unit (what T-Switch keeps) a peer is given exactly that delta, and for
exact storage the two checkpoints. What it stores is restored and compared before its bytes count.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np

from tools.bench._codes import Kept
from tools.bench._measure import silence

#: Below every magnitude that a task has.
_TINY = 1e-30

Pairs = dict[str, tuple[np.ndarray, np.ndarray]]


class CannotError(Exception):
    """Why a peer cannot do a job."""


def deltatensors_sparse(units: list[Kept]) -> int:
    """Its ``sparse`` strategy, told per unit how many entries to keep, in its file format."""
    from deltatensors.compress import compress, decompress
    from deltatensors.format import write_wdelta

    tensors = {}
    for number, unit in enumerate(units):
        if not len(unit.positions):
            continue  # its format would keep an entry of zero
        dense = _dense(unit)
        sparsity = 1 - (len(unit.positions) + 0.5) / unit.size
        stored = compress(dense, "sparse", sparsity=max(0.0, sparsity))
        if not np.array_equal(decompress(stored), dense):
            raise CannotError("what it restores differs from the delta")
        tensors[str(number)] = stored
    file = io.BytesIO()
    write_wdelta(file, "0" * 64, "sparse", tensors)
    return len(file.getvalue())


def deltatensors_exact(pairs: Pairs) -> int:
    """``sparse`` with nothing dropped is its most exact; the sum must give the fine-tune back."""
    _refuse_inexact_sums(pairs, "it stores float32 differences of 12 bytes an entry, and base + ")
    return sum(12 * np.count_nonzero(a != b) for a, b in pairs.values())


def sparse_llm_switched(units: list[Kept]) -> int:
    """Its sparse or its int8 storage, whichever is less of those that restore the unit."""
    import torch
    from core.delta_rust import (
        compress_delta_int8,
        compress_delta_sparse,
        decompress_delta_int8,
        decompress_delta_sparse,
    )

    total = 0
    for unit in units:
        if not len(unit.positions):
            continue
        delta = torch.from_numpy(_dense(unit))
        indices, values, _ = compress_delta_sparse(delta, threshold=_TINY)  # 0 keeps zeros
        sizes = []
        restored = decompress_delta_sparse(indices, values, delta.shape, torch.float32)
        if torch.equal(restored, delta):
            sizes.append(indices.nbytes + values.nbytes)
        codes, scale, _ = compress_delta_int8(delta)
        if torch.equal(decompress_delta_int8(codes, scale, delta.shape, torch.float32), delta):
            sizes.append(len(codes) + 4)
        if not sizes:
            raise CannotError("neither of its kinds of storage restores the delta")
        total += min(sizes)
    return total


def sparse_llm_exact(pairs: Pairs) -> int:
    """Its lossless storage is the sparse one; the sum must give the fine-tune back."""
    _refuse_inexact_sums(pairs, "it stores differences, and base + ")
    return sum(8 * np.count_nonzero(a != b) for a, b in pairs.values())


def zipnn_checkpoint(pairs: Pairs) -> int:
    """ZipNN of the fine-tune's own bytes: the best of its methods."""
    return _zipnn({name: np.ascontiguousarray(tuned) for name, (_, tuned) in pairs.items()})


def zipnn_difference(pairs: Pairs) -> int:
    """ZipNN of base XOR fine-tune, as it recommends for deltas: the best of its methods."""
    differences = {}
    for name, (base, tuned) in pairs.items():
        kind = np.dtype(f"u{tuned.dtype.itemsize}")
        if base.dtype != tuned.dtype:
            raise CannotError(f"unit {name!r} has another element type than the base's")
        xor = np.ascontiguousarray(base).view(kind) ^ np.ascontiguousarray(tuned).view(kind)
        differences[name] = xor.view(tuned.dtype)
    return _zipnn(differences)


def _zipnn(arrays: dict[str, np.ndarray]) -> int:
    from zipnn import ZipNN

    best = []
    for method in ("AUTO", "HUFFMAN", "ZSTD"):
        total = 0
        for dtype in {array.dtype for array in arrays.values()}:
            data = b"".join(a.tobytes() for a in arrays.values() if a.dtype == dtype)
            with silence():
                coder = ZipNN(method=method, bytearray_dtype=dtype.name, input_format="byte")
                packed = coder.compress(bytearray(data))  # it reorders what it is given in place
                restored = ZipNN(
                    method=method, bytearray_dtype=dtype.name, input_format="byte"
                ).decompress(packed)
            if bytes(restored) != data:
                break
            total += len(packed)
        else:
            best.append(total)
    if not best:
        raise CannotError("no method restored the bytes")
    return min(best)


def _dense(unit: Kept) -> np.ndarray:
    dense = np.zeros(unit.size, np.float32)
    dense[unit.positions] = unit.values
    return dense


def _refuse_inexact_sums(pairs: Pairs, why: str) -> None:
    wrong = total = 0
    for base, tuned in pairs.values():
        if tuned.dtype.kind == "f":
            old, new = base.astype(np.float32), tuned.astype(np.float32)
            wrong += int(np.count_nonzero(old + (new - old) != new))
            total += new.size
    if wrong:
        raise CannotError(f"{why}(tuned - base) is not the fine-tune in {wrong / total:.1%} of it")


#: Package, the job as tvbank's T-Switch does it, function.
SWITCHED: list[tuple[str, str, Callable[[list[Kept]], int]]] = [
    ("deltatensors", "sparse", deltatensors_sparse),
    ("sparse-llm", "sparse or int8", sparse_llm_switched),
]
#: Package, the job as tvbank's Exact does it, function.
EXACT: list[tuple[str, str, Callable[[Pairs], int]]] = [
    ("zipnn", "of the checkpoint", zipnn_checkpoint),
    ("zipnn", "of base XOR fine-tune", zipnn_difference),
    ("deltatensors", "sparse", deltatensors_exact),
    ("sparse-llm", "lossless", sparse_llm_exact),
]
