"""Draw docs/howto/compressors.svg from the tables of docs/measured: points lost against bytes.

``python -m tools.docs curve`` writes it; a test compares.
"""

from __future__ import annotations

import math
import re
from html import escape

from tools import ROOT

PICTURE = ROOT / "docs" / "howto" / "compressors.svg"
#: Per cent of the base in fp32, points of accuracy lost.
Points = list[tuple[float, float]]

_MINUS = "\N{MINUS SIGN}"
_NUMBER = rf"[{_MINUS}-]?\d*\.?\d+"
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _GAP = 360, 300, 48, 44, 52, 24
_LEAST, _MOST, _WORST, _BEST = 0.1, 5.0, 10.0, -1.0
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #222 } .small { font-size: 11px }
.grid { stroke: #8884; fill: none } .line { fill: none; stroke-width: 2 }
.a { stroke: #0072b2; fill: #0072b2 } .b { stroke: #d55e00; fill: #d55e00 }
.c { stroke: #009e73; fill: #009e73 } .line.a, .line.b, .line.c { fill: none }
rect.back { fill: #fff }
@media (prefers-color-scheme: dark) { text { fill: #ddd } rect.back { fill: #1e2129 } }
"""


def measured() -> dict[str, tuple[Points, Points]]:
    """Text and image points of each compressor, as the pages' tables have them."""
    budgets = (ROOT / "docs/measured/budgets.md").read_text()
    flexswitch = (ROOT / "docs/measured/flexswitch.md").read_text()
    row = _cells(budgets, "| Budget: ")
    sizes = [float(size) for size in re.findall(_NUMBER, row[0])]
    text = list(zip(sizes, _numbers(row[1].split("(")[0]), strict=True))
    [extra] = re.findall(rf"\(({_NUMBER}): ({_NUMBER})\)", row[1])
    text.append((float(extra[0]), _number(extra[1])))
    images = list(zip(sizes, _numbers(row[2]), strict=True))
    tswitch = _cells(budgets, "| T-Switch, rms, drop ")
    by_size = _cells(flexswitch, "| text at ≤ 0.35 %"), _cells(flexswitch, "| text at ≤ 0.15 %")
    beyond = _cells(flexswitch, "| beyond: images at 0.5 %, 0.35 % ")
    return {
        "FlexSwitch to a size, 100 examples": (
            [point for row in by_size for point in _at(row[2])],
            [
                *_at(_cells(flexswitch, "| images at ≤ 0.8 %")[2]),
                *zip(_numbers(beyond[0].split("at", 1)[1]), _numbers(beyond[2]), strict=True),
            ],
        ),
        "Budget, no data": (sorted(text), sorted(images)),
        "T-Switch (rms)": (_at(tswitch[1]), _at(tswitch[2])),
    }


def _cells(page: str, begins: str) -> list[str]:
    """The cells of a row, bold or not; of several such rows the first, which is the latest."""
    line = next(line for line in page.splitlines() if line.startswith(begins))
    return [cell.strip().replace("*", "") for cell in line.strip("|").split("|")]


def _number(text: str) -> float:
    return float(text.replace(_MINUS, "-"))


def _numbers(text: str) -> list[float]:
    return [_number(found) for found in re.findall(_NUMBER, text)]


def _at(text: str) -> Points:
    found = re.findall(rf"({_NUMBER}) at ({_NUMBER})", text)
    return [(_number(size), _number(lost)) for lost, size in found]


def picture() -> str:
    """The picture as SVG: two panels with one scale, a line a compressor."""
    series = measured()
    width = 2 * _WIDTH + _GAP + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT + 48}" role="img" '
        f'aria-label="Points of accuracy lost against per cent of the base stored">',
        f"<style>{_STYLE}</style>",
        f'<rect class="back" width="{width}" height="{_HEIGHT + 48}"/>',
        '<clipPath id="panel">'
        f'<rect x="{_LEFT}" y="{_TOP - 6}" width="{_WIDTH - _LEFT}" height="{_HEIGHT}"/>'
        "</clipPath>",
    ]
    for column, title in enumerate(("three text tasks, MiniLM", "four image tasks, small ViT")):
        parts.append(f'<g transform="translate({column * (_WIDTH + _GAP)} 0)">')
        parts += _panel(title)
        for kind, points in zip("cab", [pair[column] for pair in series.values()], strict=True):
            parts += _line(kind, sorted(points))
        parts.append("</g>")
    for kind, name, x in zip("cab", series, (_LEFT, 330, 500), strict=True):
        y = _HEIGHT + 32
        parts.append(f'<path class="line {kind}" d="M{x} {y - 4}h24"/>{_mark(kind, x + 12, y - 4)}')
        parts.append(f'<text x="{x + 32}" y="{y}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _x(size: float) -> float:
    share = math.log(size / _LEAST) / math.log(_MOST / _LEAST)
    return round(_LEFT + share * (_WIDTH - _LEFT), 1)


def _y(lost: float) -> float:
    share = (lost - _BEST) / (_WORST - _BEST)
    return round(_TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM), 1)


def _panel(title: str) -> list[str]:
    parts = [f'<text x="{_LEFT}" y="22">{escape(title)}</text>']
    for lost in (0, 2, 4, 6, 8, 10):
        parts.append(f'<path class="grid" d="M{_LEFT} {_y(lost)}H{_WIDTH}"/>')
        parts.append(f'<text class="small" x="26" y="{_y(lost) + 4}">{lost}</text>')
    for size in (0.1, 0.2, 0.5, 1, 2, 5):
        parts.append(f'<path class="grid" d="M{_x(size)} {_TOP}V{_HEIGHT - _BOTTOM}"/>')
        below = f'<text class="small" x="{_x(size)}" y="{_HEIGHT - _BOTTOM + 16}"'
        parts.append(f'{below} text-anchor="middle">{size:g} %</text>')
    middle, low = (_LEFT + _WIDTH) / 2, _HEIGHT - 16
    parts.append(
        f'<text class="small" x="{middle}" y="{low}" text-anchor="middle">stored, of fp32</text>'
        f'<text class="small" transform="translate(14 {_HEIGHT / 2}) rotate(-90)" '
        'text-anchor="middle">points of accuracy lost</text>'
    )
    return parts


def _line(kind: str, points: Points) -> list[str]:
    path = " ".join(f"{_x(size)},{_y(lost)}" for size, lost in points)
    line = f'<polyline class="line {kind}" clip-path="url(#panel)" points="{path}"/>'
    shown = [point for point in points if _LEAST <= point[0] <= _MOST and point[1] <= _WORST]
    return [line, *(_mark(kind, _x(size), _y(lost)) for size, lost in shown)]


def _mark(kind: str, x: float, y: float) -> str:
    """A circle, a square or a triangle, so that colour is not all that tells lines apart."""
    if kind == "a":
        return f'<circle class="{kind}" cx="{x}" cy="{y}" r="4"/>'
    if kind == "b":
        return f'<rect class="{kind}" x="{x - 4}" y="{y - 4}" width="8" height="8"/>'
    return f'<path class="{kind}" d="M{x} {y - 5}l5 9h-10z"/>'


if __name__ == "__main__":
    PICTURE.write_text(picture())
    print(f"wrote {PICTURE.relative_to(ROOT)}")
