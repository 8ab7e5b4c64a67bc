"""Points of a plane of bytes and scores: those that no other point beats, and their picture."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from tvbank._atomic import replace_file
from tvbank.errors import UsageError

#: The parameter that states a size as text: settings that differ only in it lie on one line.
_SIZE: Final = "budget"

#: File names that can be written.
SUFFIXES = (".png", ".svg", ".pdf")


@final
@dataclass(frozen=True)
class Point:
    """One way to store a fine-tune.

    Attributes:
        compressor: name and parameters.
        stored_bytes: of the task in the bank, by its catalog.
        bits_per_parameter: stored bits over parameters.
        share: stored bytes over the base's bytes.
        score: of the weights that were read back from the bank; more is better.
        seconds: that compressing and storing took.
    """

    compressor: dict[str, Any]
    stored_bytes: int
    bits_per_parameter: float
    share: float
    score: float
    seconds: float

    @property
    def method(self) -> str:
        """Name of the compressor."""
        return str(self.compressor.get("name", "?"))

    @property
    def setting(self) -> str:
        """Its parameters on one line."""
        return setting_of(self.compressor)


def setting_of(compressor: Mapping[str, Any]) -> str:
    """A compressor's parameters on one line: ``drop=0.9 knob=rms``, or ``1 %`` of a budget."""
    return " ".join(
        str(value) if key == compressor.get("name") else f"{key}={value}"
        for key, value in compressor.items()
        if key != "name"
    )


def frontier(points: Sequence[Point]) -> list[Point]:
    """The points that score higher than every point of the same or a smaller size, by size.

    A score that is NaN is never on the frontier.
    """
    best, ahead = -math.inf, []
    for point in sorted(points, key=lambda point: (point.stored_bytes, -point.score)):
        if point.score > best:
            best = point.score
            ahead.append(point)
    return ahead


def check_picture(out: str | os.PathLike[str]) -> None:
    """Refuse a picture that could not be written in the end.

    Raises:
        UsageError: another suffix, no such folder, or matplotlib is not installed.
    """
    path = Path(out)
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: pictures end in {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "pictures need matplotlib: install tvbank[report], or leave the picture out"
        ) from error


def draw(
    points: Sequence[Point] | Mapping[str, Sequence[Point]],
    out: str | os.PathLike[str],
    *,
    levels: Mapping[str, float] | None = None,
    score: str = "score",
    title: str = "",
) -> Path:
    """Write a picture.

    Args:
        points: all points, a line for each method and each of its knobs; or lines by name.
        out: a ``.png``, ``.svg`` or ``.pdf`` file.
        levels: scores to draw as horizontal lines, by name: the fine-tune's, the base's.
        score: label of the vertical axis.
        title: of the picture.

    Raises:
        UsageError: another suffix, no such folder, or matplotlib is not installed.
        StorageError: the disk refused; a picture that was there stays.
    """
    check_picture(out)
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    lines = points if isinstance(points, Mapping) else by_knob(points)
    for name, line in lines.items():
        ordered = sorted(line, key=lambda point: point.share)
        shares = [100 * point.share for point in ordered]
        axes.plot(shares, [point.score for point in ordered], marker="o", markersize=4, label=name)
    best = frontier([point for line in lines.values() for point in line])
    axes.scatter(
        [100 * point.share for point in best], [point.score for point in best],
        s=90, facecolors="none", edgecolors="black", linewidths=0.8, label="frontier",
    )  # fmt: skip
    for number, (name, level) in enumerate((levels or {}).items()):
        style = ("--", ":", "-.")[number % 3]
        axes.axhline(level, color="grey", linestyle=style, linewidth=1, label=name)
    axes.set_xscale("log")
    percent = FuncFormatter(lambda share, _place: f"{share:g}")
    axes.xaxis.set_major_formatter(percent)
    least, most = axes.get_xlim()
    if most < 30 * least:  # otherwise they would overlap
        axes.xaxis.set_minor_formatter(percent)
    axes.set_xlabel("stored bytes, % of the base's")
    axes.set_ylabel(score)
    axes.set_title(title)
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.legend(fontsize="small")
    path, content = Path(out), io.BytesIO()
    # Equal figures give equal bytes: no date, and no random ids.
    undated = {"Date": None} if path.suffix.lower() == ".svg" else None
    with rc_context({"svg.hashsalt": "tvbank"}):
        figure.savefig(content, format=path.suffix[1:].lower(), dpi=150, metadata=undated)
    replace_file(path, content.getvalue(), sweep=True)
    return path


def by_knob(points: Sequence[Point]) -> dict[str, list[Point]]:
    """Points in lines: of one method, with the same values of all parameters that are texts.

    Numbers and the size target say where on a line a point lies; a text, such as the ``knob`` of
    ``TSwitch``, is another way to get there. A line is named by its method, and by those of its
    texts in which lines of that method differ: ``tswitch knob=rms``.
    """
    groups: dict[str, dict[tuple[tuple[str, str], ...], list[Point]]] = {}
    for point in points:
        texts = tuple(
            (key, value)
            for key, value in point.compressor.items()
            if isinstance(value, str) and key not in ("name", _SIZE)
        )
        groups.setdefault(point.method, {}).setdefault(texts, []).append(point)
    lines: dict[str, list[Point]] = {}
    for method, group in groups.items():
        common = set.intersection(*(set(texts) for texts in group))
        for texts, line in group.items():
            own = [f"{key}={value}" for key, value in texts if (key, value) not in common]
            lines[" ".join([method, *own])] = line
    return lines
