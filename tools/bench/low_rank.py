"""A full fine-tune by bytes: sparse entries against products of few bits, in squared error.

    python -m tools.bench low_rank --base FILE --tuned FILE [--rank 64] [--tasks FOLDER --task NAME]

On paper, of matrices alone: products are their first singular values, packed as an adapter's are;
entries are a bound, those of the largest magnitude, kept exactly for the entropy of their places
and a bit for each sign. With a task of ``realtasks``, products are scored, beside entries as
``Budget`` stores them, which are drawn by chance, right on average, and lose more squares.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tvbank
from tools.bench.adapters import scores
from tools.bench.realtasks import load
from tvbank.checkpoint import borrow_checkpoint
from tvbank.compress.budget.factors import Components, share_bytes
from tvbank.compress.budget.products import leading_of

#: Percent of the base.
SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)
#: About what a product takes in a document, beside its factors.
_RECORD = 100
#: What documents and indices of a task of entries may take beside.
_DOCUMENTS = 6000


def unpacked(product: Components, packed: bytes | None) -> np.ndarray[Any, Any] | float:
    """What packed factors say, dense; 0 if there are none."""
    from tvbank.coding.packed import unpack_factors

    if packed is None:
        return 0.0
    rows, columns = len(product.u), product.v.shape[1]
    b, a = unpack_factors(packed, rows, columns, len(product.values))
    return b @ a


def measure(base: Path, tuned: Path, rank: int) -> list[dict[str, Any]]:
    """A row a size: the share of the squares that either form loses, of matrices alone."""
    with borrow_checkpoint(base) as before, borrow_checkpoint(tuned) as after:
        weights = {name: before.read(name) for name in before.tensors}
        names = [name for name, each in weights.items() if each.ndim == 2]
        deltas = {
            name: after.read(name).astype(np.float32) - weights[name].astype(np.float32)
            for name in names
        }
    size = sum(each.nbytes for each in weights.values())
    total = sum(float((each.astype(np.float64) ** 2).sum()) for each in deltas.values())
    products = [leading_of(deltas[name], rank) for name in names]
    whole = sum(float((each.values**2).sum()) for each in products)
    every = np.concatenate([each.reshape(-1) for each in deltas.values()]).astype(np.float64)
    squares = np.cumsum(np.sort(every**2)[::-1])
    rows = []
    for share in SHARES:
        limit = int(size * share / 100)
        packed = share_bytes(products, _taken, limit, map)
        lost = sum(
            float(((deltas[name] - unpacked(one, data)).astype(np.float64) ** 2).sum())
            for name, one, data in zip(names, products, packed, strict=True)
        )
        rows.append(
            {
                "percent": share, "bytes": limit,
                "entries": 1 - kept_by_entries(squares, limit) / total,
                "products": lost / total, "components": sum(map(_components, packed)),
                "rank_alone": 1 - whole / total,
            }
        )  # fmt: skip
    return rows


def kept_by_entries(squares: np.ndarray[Any, Any], limit: int) -> float:
    """The sum of the most of the largest squares whose places and signs fit.

    Args:
        squares: running sums of squares, the largest first.
        limit: bytes.
    """
    low, high = 0, squares.size // 2
    while low < high:
        count = (low + high + 1) // 2
        share = count / squares.size
        entropy = -share * np.log2(share) - (1 - share) * np.log2(1 - share)
        if squares.size * entropy + count <= 8 * limit:
            low = count
        else:
            high = count - 1
    return float(squares[low - 1]) if low else 0.0


def scored(base: Path, tuned: Path, rank: int, folder: Path, name: str) -> None:
    """Print accuracy and loss on a task's test set, of matrices alone, at the smaller sizes."""
    family = load(folder, "minilm", tuned=False)
    with borrow_checkpoint(base) as before, borrow_checkpoint(tuned) as after:
        weights = {unit: before.read(unit) for unit in before.tensors}
        names = [unit for unit, each in weights.items() if each.ndim == 2]
        changed = weights | {unit: after.read(unit) for unit in names}
    products = [leading_of(changed[unit] - weights[unit], rank) for unit in names]
    size = sum(each.nbytes for each in weights.values())
    model = family.architecture().eval()

    def show(what: str, state: dict[str, Any]) -> None:
        model.load_state_dict({unit: torch.as_tensor(each) for unit, each in state.items()})
        accuracy, loss = scores(family, family.tasks[name], model)
        print(f"{what:>24}  accuracy {accuracy:.4f}  loss {loss:.4f}")

    show("whole", changed)
    with tempfile.TemporaryDirectory() as place:
        bank = tvbank.create(Path(place) / "bank", base=weights)
        for share in SHARES[:3]:
            limit = int(size * share / 100)
            near = dict(weights)
            packed = share_bytes(products, _taken, limit, map)
            for unit, one, data in zip(names, products, packed, strict=True):
                near[unit] = (weights[unit] + unpacked(one, data)).astype(np.float32)
            show(f"products at {share} %", near)
            budget = tvbank.Budget(f"{limit + _DOCUMENTS} bytes")
            task = bank.add(f"at-{share}", changed, budget, base=weights)
            state = bank.state_dict(task.name, base=weights)
            show(f"entries, {task.stored_bytes:,} bytes", state)


def _taken(packed: list[bytes | None]) -> int:
    return sum(_RECORD + len(data) for data in packed if data is not None)


def _components(packed: bytes | None) -> int:
    return 0 if packed is None else int.from_bytes(packed[:2], "little")


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", required=True, type=Path)
    parser.add_argument("--tuned", required=True, type=Path)
    parser.add_argument("--rank", type=int, default=64, help="most components of a matrix")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--tasks", type=Path, help="a folder of realtasks: score, too")
    parser.add_argument("--task", default="wordnet")
    chosen = parser.parse_args()
    if chosen.tasks:
        scored(chosen.base, chosen.tuned, chosen.rank, chosen.tasks, chosen.task)
        return
    rows = measure(chosen.base, chosen.tuned, chosen.rank)
    if chosen.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"of the squares, rank {chosen.rank} alone leaves out {rows[0]['rank_alone']:.3f}")
    for row in rows:
        print(
            f"{row['percent']:>5} %  entries lose {row['entries']:.3f}  "
            f"products {row['products']:.3f} ({row['components']} components)"
        )


if __name__ == "__main__":
    main()
