"""Many processes add tasks to one bank at once, on a disk and in S3, beside readers and ``gc``.

    python -m tools.soak writers [--writers 8] [--tasks 25] [--store disk s3] [--json]

Ends with status 1 if a task is lost or torn, a reader sees a half generation, or one goes back.
S3 is moto's server (test extra), started here. It is tests/e2e/test_many_writers.py, larger.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tools import borrow_tests
from tools.bench._measure import options, report


def run(store: str, count: int, tasks: int, folder: Path) -> float:
    """Seconds that it took."""
    import servers
    import writers

    if store == "disk":
        return writers.together(str(folder / "bank"), folder / "stop", count, tasks)
    with servers.s3_server() as port, servers.environment(servers.s3_environment(port)):
        return writers.together("s3://bucket/bank", folder / "stop", count, tasks)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--tasks", type=int, default=25)
    parser.add_argument("--store", nargs="+", choices=["disk", "s3"], default=["disk", "s3"])
    arguments = parser.parse_args()
    borrow_tests()
    rows = []
    for store in arguments.store:
        with tempfile.TemporaryDirectory() as folder:
            seconds = run(store, arguments.writers, arguments.tasks, Path(folder))
        tasks = arguments.writers * arguments.tasks
        rows.append(
            {"store": store, "processes": arguments.writers, "tasks": tasks, "seconds": seconds}
        )
    report(arguments, {}, {"none lost, none torn": rows})


if __name__ == "__main__":
    main()
