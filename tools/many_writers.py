"""Many processes add tasks to one bank at once, on a disk and in S3, beside readers and ``gc``.

    python tools/many_writers.py [--writers 8] [--tasks 25] [--store disk s3] [--json]

Ends with status 1 if a task is lost or torn, a reader sees a half generation, or one goes back.
S3 is moto's server (test extra), started here. It is tests/e2e/test_many_writers.py, larger.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))


def run(store: str, count: int, tasks: int, folder: Path) -> float:
    """Seconds that it took."""
    import servers
    import writers

    if store == "disk":
        return writers.together(str(folder / "bank"), folder / "stop", count, tasks)
    with servers.s3_server() as port, servers.environment(servers.s3_environment(port)):
        return writers.together("s3://bucket/bank", folder / "stop", count, tasks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--tasks", type=int, default=25)
    parser.add_argument("--store", nargs="+", choices=["disk", "s3"], default=["disk", "s3"])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = {}
    for store in options.store:
        with tempfile.TemporaryDirectory() as folder:
            found[store] = run(store, options.writers, options.tasks, Path(folder))
        if not options.json:
            print(
                f"{store}: {options.writers} processes, {options.writers * options.tasks} tasks, "
                f"none lost, none torn, {found[store]:.1f} s"
            )
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
