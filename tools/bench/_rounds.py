"""Jobs timed side by side, and the rows that come of it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Job = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        what: tvbank's part, and on what.
        against: what it is compared with.
        ours, theirs: in ``unit``.
        unit: "ms" or "bytes".
        target: the most that the ratio may be; None where nobody set one.
        note: what is included, or why there is no figure.
    """

    what: str
    against: str
    ours: float | None = None
    theirs: float | None = None
    unit: str = "ms"
    target: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours over theirs."""
        return self.ours / self.theirs if self.ours is not None and self.theirs else None

    @property
    def reached(self) -> bool | None:
        """Whether the target is; None without one or without a figure."""
        return None if self.target is None or self.ratio is None else self.ratio <= self.target


def milliseconds(
    jobs: Mapping[str, Job], rounds: int, before: Callable[[], object] = lambda: None
) -> dict[str, float]:
    """Median wall-clock time of each job, one after the other in every round.

    A round before the first one is not counted: it compiles and warms the page cache. Nor is
    ``before``, which is called before each job.
    """
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds + 1):
        for name, job in jobs.items():
            before()
            start = time.perf_counter()
            job()
            if number:
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}
