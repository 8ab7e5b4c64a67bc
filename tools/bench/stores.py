"""What stores cost: round trips, bytes, and time against one raw GET of the same bytes.

    python -m tools.bench stores [--base FILE --tuned FILE] [--exact] [--rounds 9]

Without files it makes a fine-tune of 23 million float32 parameters, of which a tenth is kept.
S3 is moto's server on loopback (test extra), behind a proxy that counts requests. Times are taken
without the proxy, in one process, rounds interleaved; medians, in brackets the tenth percentile.

``whole task``: ``task.to_sparse()`` from S3, against one raw GET of its shards with obstore, plus
decoding the same task from memory. ``open``: round trips of ``tvbank.open``. ``one unit``: requests
and bytes beside the unit's own.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import obstore

import tvbank
from tools import borrow_tests
from tools.bench._checkpoints import Checkpoints, add_files, files
from tools.bench._measure import in_turns, options, report, tenth
from tvbank.storage import MemoryStorage

#: The most that a whole task from S3 may take over one raw GET plus decoding; round trips to open.
TARGET, TRIPS = 1.3, 2


def measure(given: Checkpoints, rounds: int, *, exact: bool) -> dict[str, Any]:
    """All figures of a task of T-Switch at drop 0.9, or of an exact one."""
    import servers

    place = "s3://bucket/bank"
    with servers.s3_server() as port, tempfile.TemporaryDirectory() as folder:
        with servers.environment(servers.s3_environment(port)):
            bank = tvbank.create(MemoryStorage(), base=given.base)
            compressor = tvbank.Exact(standalone=True) if exact else tvbank.TSwitch(drop=0.9)
            bank.add("task", given.tuned[0], compressor, base=given.base)
            tvbank.copy(bank.storage, place)
            zipped = tvbank.pack(bank.storage, Path(folder) / "bank.zip").path
            remote = tvbank.open(place)
            store = obstore.store.from_url(place, client_options={"allow_http": True})
            entry = bank._catalog.tasks["task"]
            keys = [
                f"tasks/task/{entry.revision}/delta/c/{number}"
                for number, shard in enumerate(entry.shards)
                if shard is not None
            ]
            seconds = in_turns(
                {
                    "raw GET": lambda: [obstore.get(store, key).bytes() for key in keys],
                    "decode": lambda: bank["task"].to_sparse(),
                    "whole task from S3": lambda: remote["task"].to_sparse(),
                    "open": lambda: tvbank.open(place),
                    "open a zip file": lambda: tvbank.open(zipped),
                },
                rounds,
            )
        with servers.Proxy(port) as proxy:
            largest = max(bank.layout.units, key=lambda unit: unit.size).name
            counts = counted(proxy, place, largest)
    ratios = [
        whole / (raw + decode)
        for whole, raw, decode in zip(
            seconds["whole task from S3"], seconds["raw GET"], seconds["decode"], strict=True
        )
    ]
    return {
        "bytes": sum(shard.size for shard in entry.shards if shard),
        "shards": len(keys),
        "seconds": seconds,
        "ratios": ratios,
        **counts,
    }


def counted(proxy: Any, place: str, unit: str) -> dict[str, Any]:
    """Requests and bytes, as the server sees them."""
    import servers

    with servers.environment(servers.s3_environment(proxy.port)):
        bank = tvbank.open(place)
        found: dict[str, Any] = {"requests to open": len(proxy.requests)}
        name = unit if unit in bank["task"] else next(iter(bank["task"]))
        for key, read in {
            "one unit": lambda: bank["task"][name].to_sparse(),
            "whole task": lambda: bank["task"].to_sparse(),
        }.items():
            proxy.requests.clear()
            read()
            found[f"requests of {key}"] = len(proxy.requests)
            found[f"bytes of {key}"] = sum(seen.bytes for seen in proxy.requests)
        own = sum(len(frame.data) + 4 for frame in bank["task"].frames(name))
        found["bytes beside the unit"] = found["bytes of one unit"] - own
    return found


def wanted(what: str, value: float, most: float) -> Mapping[str, Any]:
    return {"what": what, "value": value, "target": most, "missed": "!" if value > most else ""}


def main() -> None:
    parser = options(__doc__)
    add_files(parser)
    parser.add_argument("--exact", action="store_true", help="an exact task, which is larger")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    borrow_tests()
    with files(arguments, moved=1.0) as (given, _):
        found = measure(given, arguments.rounds, exact=arguments.exact)
    seconds, ratios = found.pop("seconds"), found.pop("ratios")
    times = [
        {"what": name, "ms": 1e3 * statistics.median(each), "quiet ms": 1e3 * tenth(each)}
        for name, each in seconds.items()
    ]
    targets = [
        wanted("whole task from S3 / (raw GET + decode)", statistics.median(ratios), TARGET),
        wanted("the same, tenth percentile", tenth(ratios), TARGET),
        wanted("round trips to open", found["requests to open"], TRIPS),
    ]
    report(arguments, found, {"times": times, "targets": targets})


if __name__ == "__main__":
    main()
