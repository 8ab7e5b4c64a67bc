"""The pictures of a report as files for papers, SVG or PNG, drawn by matplotlib."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, Literal

from tvbank._atomic import replace_file
from tvbank.errors import UsageError, escaped
from tvbank.reporting._sections import sections_of
from tvbank.reporting.facts import Facts
from tvbank.reporting.figures import Bars, Heat, shown

#: Inches of a cell and of a bar; up to how many columns cells hold numbers; letters of a label.
_CELL, _BAR, _NUMBERED, _LETTERS = 0.28, 0.26, 12, 48


def draw_pictures(
    report: Facts, folder: str | os.PathLike[str], kind: Literal["svg", "png"] = "svg"
) -> list[Path]:
    """Write every picture of a report into a folder, each under its key.

    Args:
        report: a ``Report`` or a ``Change``.
        folder: which is made if it is not there; files of the same names are replaced.
        kind: ``"svg"`` or ``"png"``.

    Returns:
        The files, in the order of the page.

    Raises:
        UsageError: matplotlib is not installed, another kind, or the folder cannot be made.
        StorageError: the disk refused.
    """
    if kind not in ("svg", "png"):
        raise UsageError(f"pictures are 'svg' or 'png', got {kind!r}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError("pictures need matplotlib: install tvbank[report]") from error
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{place}: no folder can be made: {error.strerror or error}") from error
    written = []
    for section in sections_of(report):
        for picture in section.figures:
            written.append(place / f"{picture.key}.{kind}")
            replace_file(written[-1], _drawn(picture, kind), sweep=True)
    return written


def _drawn(picture: Heat | Bars, kind: str) -> bytes:
    """The bytes of a picture; equal numbers give equal bytes."""
    from matplotlib import rc_context

    content = io.BytesIO()
    settings: Any = {
        "svg.hashsalt": "tvbank", "svg.fonttype": "none", "text.parse_math": False,
    }  # fmt: skip
    with rc_context(settings):
        figure = _heat(picture) if isinstance(picture, Heat) else _bars(picture)
        undated = {"Date": None} if kind == "svg" else None
        figure.savefig(content, format=kind, dpi=200, metadata=undated, bbox_inches="tight")
    return content.getvalue()


def _label(text: str) -> str:
    """A label as fonts can draw it; its end, if it is long."""
    plain = escaped(text)
    return plain if len(plain) <= _LETTERS else "…" + plain[1 - _LETTERS :]


def _heat(heat: Heat) -> Any:
    import numpy as np
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    rows, columns = len(heat.rows), len(heat.columns)
    in_cells = columns <= _NUMBERED
    wide = 3 * _CELL if in_cells else _CELL
    figure = Figure(figsize=(2 + wide * columns, 1 + _CELL * rows))
    axes = figure.add_subplot()
    values = np.array([[np.nan if v is None else v for v in row] for row in heat.values], float)
    values = values.reshape(rows, columns)
    least, most, logarithmic = heat.scale
    if not most > least:
        most = least + (abs(least) or 1.0)
    norm = LogNorm(least, most) if logarithmic else Normalize(least, most)
    drawn = values if not logarithmic else np.where(values > 0, values, least)
    drawn = np.where(np.isnan(values), np.nan, drawn)
    image = axes.imshow(drawn, cmap="cividis", norm=norm, aspect="auto", interpolation="nearest")
    axes.set_yticks(range(rows), [_label(label) for label in heat.rows], fontsize=7)
    every = 1 if in_cells else max(1, columns // 16)
    places = range(0, columns, every)
    axes.set_xticks(places, [_label(heat.columns[n]) for n in places], fontsize=7)
    axes.set_xlabel(heat.column, fontsize=8)
    axes.set_title(_label(heat.title), fontsize=9)
    if in_cells:
        for row in range(rows):
            for column in range(columns):
                value = heat.values[row][column]
                if value is not None:
                    ink = "white" if heat.shade(value) < 0.55 else "black"
                    said = shown(value, heat.form)
                    axes.text(column, row, said, ha="center", va="center", fontsize=6, color=ink)
    ticks = FuncFormatter(lambda value, _place: shown(float(value), heat.form))
    bar = figure.colorbar(image, format=ticks)
    bar.ax.tick_params(labelsize=7)
    return figure


def _bars(bars: Bars) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 1 + _BAR * len(bars.rows)))
    axes = figure.add_subplot()
    colours = ["#b8610b" if row in bars.marks else "#4a6fa5" for row in bars.rows]
    lengths = [0.0 if value is None else value for value in bars.values]
    drawn = axes.barh(range(len(lengths)), lengths, color=colours)
    axes.bar_label(drawn, [shown(value, bars.form) for value in bars.values], fontsize=7, padding=3)
    axes.set_yticks(range(len(lengths)), [_label(label) for label in bars.rows], fontsize=7)
    axes.invert_yaxis()
    axes.set_title(_label(bars.title), fontsize=9)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.set_xticks([])
    axes.margins(x=0.15)
    return figure
