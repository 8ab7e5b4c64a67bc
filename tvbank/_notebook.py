"""How far work has come, as a notebook's cell shows it: by IPython alone, without widgets."""

from __future__ import annotations

import time
from html import escape
from typing import Any

from tvbank.errors import escaped

#: Seconds between two changes of what is shown.
_PAUSE = 0.1


class NotebookRows:
    """Rows of the stages of some work, in one output of a cell that is replaced as they go on."""

    def __init__(self, what: str, *, keep: bool) -> None:
        """Show nothing yet.

        Args:
            what: the work, in words.
            keep: whether the rows stay at the end.
        """
        self._what, self._keep = what, keep
        self._rows: dict[str, str] = {}
        self._shown: Any = None
        self._next = 0.0

    def report(self, stage: str, done: int, total: int, unit: str, detail: object) -> None:
        """See ``Progress.report``."""
        label = escape(escaped(": ".join(filter(None, (self._what, stage)))))
        counted = f"{done:,} of {total:,} {unit}" if total else f"{done:,} {unit}"
        bar = f'<progress value="{done}" max="{total}"></progress>' if total else ""
        more = escape(escaped(str(detail)))
        self._rows[stage] = f"<div>{label} {bar} {escape(counted)} {more}</div>"
        if time.monotonic() >= self._next or done == total:
            self._next = time.monotonic() + _PAUSE
            self._show("".join(self._rows.values()))

    def close(self) -> None:
        """The work has ended."""
        if self._shown is not None:
            self._show("".join(self._rows.values()) if self._keep else "")

    def _show(self, html: str) -> None:
        from IPython.display import HTML, display

        if self._shown is None:
            self._shown = display(HTML(html), display_id=True)
        else:
            self._shown.update(HTML(html))
