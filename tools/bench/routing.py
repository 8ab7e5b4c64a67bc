"""Routers: time and recall as tasks grow, or accuracy on real tasks.

    python -m tools.bench routing [--tasks-up-to 1000] [--json]        # synthetic, clustered
    python -m tools.bench routing --tasks FOLDER [--family minilm]     # of tools/bench/realtasks

Synthetic: every task has means of its own around a common one, noise of falling variance in common
directions. Fit, store, load, and route; by exact search and by faiss, which must agree.
Real: share of held-out inputs that go to their task, by layer and metric; the layer that the
library chooses; inputs of a task that the router does not know.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import tvbank
from tools.bench._measure import options, report, timed
from tools.bench._routing_real import real
from tvbank.bank.publish import replace_root
from tvbank.routing import Router
from tvbank.routing._neighbours import Exact, Faiss, Search

WIDTH, EXAMPLES, NEIGHBOURS = 384, 100, 10
COUNTS = (10, 30, 100, 300, 1000)


def clusters(tasks: int, examples: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Features of each task, [examples, WIDTH]: three modes a task, noise of falling variance."""
    mixing = rng.standard_normal((WIDTH, WIDTH)) / np.sqrt(WIDTH)
    mixing *= np.linspace(2.0, 0.1, WIDTH)[:, None]
    common = 3 * rng.standard_normal(WIDTH)
    found = []
    for _ in range(tasks):
        middle = common + 0.25 * rng.standard_normal(WIDTH)
        modes = middle + 0.15 * rng.standard_normal((3, WIDTH))
        chosen = modes[rng.integers(0, 3, examples)]
        noise = rng.standard_normal((examples, WIDTH)) @ mixing
        found.append((chosen + 0.6 * noise).astype(np.float32))
    return found


def synthetic(most: int, inputs: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    each = -(-inputs // most)
    features = clusters(most, EXAMPLES + each, rng)
    names = [f"task{number:04}" for number in range(most)]
    rows = []
    for count in [count for count in COUNTS if count <= most]:
        fitted = {name: features[k][:EXAMPLES] for k, name in enumerate(names[:count])}
        queries = np.concatenate([features[k][EXAMPLES:] for k in range(count)])[:inputs]
        truth = np.repeat(np.arange(count), each)[:inputs]
        rows.append(growth(fitted, queries, truth) | {"tasks": count})
        print(rows[-1], file=sys.stderr)
    return {"cores": os.cpu_count(), "load": os.getloadavg()[0], "rows": rows}


def growth(fitted: dict[str, np.ndarray], queries: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    seconds, router = timed(lambda: Router.fit(fitted, neighbours=NEIGHBOURS))
    store, load, size = stored(router)
    keys, inputs = router._around.points, router._around.project(queries)
    times, found = {}, {}
    for search in (Exact, Faiss):
        index: Search = search(keys)
        index.nearest(inputs[:64], NEIGHBOURS)
        times[search.__name__], (_, found[search.__name__]) = timed(
            lambda index=index: index.nearest(inputs, NEIGHBOURS)
        )
    same = [np.intersect1d(a, b).size for a, b in zip(*found.values(), strict=True)]
    routing, top = timed(lambda: router.top(queries))
    return {
        "keys": len(keys), "rank": keys.shape[1], "inputs": len(queries),
        "fit_s": seconds, "store_s": store, "load_s": load,
        "stored_mib": size / 2**20, "route_us": 1e6 * routing / len(queries),
        "exact_us": 1e6 * times["Exact"] / len(queries),
        "faiss_us": 1e6 * times["Faiss"] / len(queries),
        "recall": float(np.mean(same)) / NEIGHBOURS,
        "right": float((router._look(queries).top == truth).mean()),
        "rejected": float((top < 0).mean()),
    }  # fmt: skip


def stored(router: Router) -> tuple[float, float, int]:
    """Seconds to add a router to a bank and to read it back; its bytes."""
    base = {"w": np.zeros(1, np.float32)}
    with TemporaryDirectory() as folder:
        bank = tvbank.create(folder, base)
        bank.add("a", base, tvbank.Exact())
        entry = bank._catalog.tasks["a"]
        # Naming one revision as many tasks is quicker than adding them.
        listed = dict.fromkeys(router.tasks, entry)
        bank._catalog = replace_root(bank.storage, bank.layout, lambda _: listed)
        store, _ = timed(lambda: bank.add_router("r", router))
        load, again = timed(lambda: tvbank.open(folder).router("r"))
        assert again.keys.tobytes() == router.keys.tobytes()
        return store, load, bank.stored_router("r").stored_bytes


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--tasks-up-to", type=int, default=1000, help="of the synthetic ones")
    parser.add_argument("--inputs", type=int, default=10_000, help="synthetic ones to route")
    parser.add_argument("--tasks", type=Path, metavar="FOLDER", help="real tasks instead")
    parser.add_argument("--family", default="minilm")
    parser.add_argument("--only", nargs="+", metavar="TASK", help="these real tasks")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--learned", action="store_true", help="[F] Eq. 19 too, which takes long")
    arguments = parser.parse_args()
    if arguments.tasks is None:
        found = synthetic(arguments.tasks_up_to, arguments.inputs)
    else:
        found = real(
            arguments.tasks, arguments.family, arguments.only, arguments.seeds, arguments.learned
        )
    tables = {name: rows for name, rows in found.items() if isinstance(rows, list)}
    report(arguments, {n: v for n, v in found.items() if n not in tables}, tables)


if __name__ == "__main__":
    main()
