"""Training and validation curves as line charts."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from markupsafe import Markup

from components.stages.evaluate.report.page import Figure
from components.stages.evaluate.report.svg import drawing, element

VALIDATION = "validation."
POINTS = 240  # of a line: of longer ones, means of equal parts are drawn
WIDTH, HEIGHT = 420, 230
LEFT, RIGHT, TOP, BOTTOM = 56, 408, 12, 200  # of the plot

Line = list[tuple[float, float]]


def curve_figures(path: Path) -> list[Figure]:
    """Return a chart per scalar of ``curves.csv``; the column ``validation.<name>`` is drawn with ``<name>``."""
    lines = read_curves(path)
    names = dict.fromkeys(name.removeprefix(VALIDATION) for name in lines)
    figures = []
    for name in names:
        parts = {"train": lines.get(name, []), "validation": lines.get(VALIDATION + name, [])}
        drawn = {kind: line for kind, line in parts.items() if len(line) > 1}
        if drawn:
            figures.append(Figure(name, svg=chart(name, drawn)))
    return figures


def read_curves(path: Path) -> dict[str, Line]:
    """Read column -> its points (step, value), without empty cells and values that are not finite; {} without a file."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lines: dict[str, Line] = {}
    for name in [name for name in (rows[0] if rows else {}) if name != "step"]:
        points = [(float(row["step"]), float(row[name])) for row in rows if (row[name] or "").strip()]
        lines[name] = [point for point in points if math.isfinite(point[1])]
    return lines


def chart(name: str, lines: Mapping[str, Line]) -> Markup:
    """Draw lines of the classes "train" and "validation" over one pair of axes."""
    xs, ys = ([point[axis] for line in lines.values() for point in line] for axis in (0, 1))
    x_ticks, y_ticks = ticks(0.0, max(xs), 4), ticks(min(ys), max(ys), 4)
    x_range, y_range = (0.0, max(xs)), (y_ticks[0], y_ticks[-1])  # the ticks cover the values

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (x - x_range[0]) / (x_range[1] - x_range[0]) * (RIGHT - LEFT),
            BOTTOM - (y - y_range[0]) / (y_range[1] - y_range[0]) * (BOTTOM - TOP),
        )

    parts = [_horizontal(place(0, value)[1], value) for value in y_ticks] + [
        _tick(place(value, 0)[0], value) for value in x_ticks
    ]
    for kind, line in lines.items():
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in shortened(line)))
        parts.append(element('<polyline class="{}" points="{}"/>', kind, points))
    parts += [_legend(index, kind) for index, kind in enumerate(lines)] if len(lines) > 1 or "validation" in lines else []
    return drawing(WIDTH, HEIGHT, f"{name} by step", parts)


def ticks(low: float, high: float, number: int) -> list[float]:
    """Return round values (1, 2 or 5 times a power of ten apart) that cover [low, high] in about ``number`` steps."""
    if high <= low:
        low, high = low - (abs(low) / 2 or 0.5), high + (abs(high) / 2 or 0.5)
    raw = (high - low) / number
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def shortened(line: Line) -> Line:
    """Return at most ``POINTS`` points: means of consecutive parts."""
    if len(line) <= POINTS:
        return line
    edges = [len(line) * part // POINTS for part in range(POINTS + 1)]
    parts: Sequence[Line] = [line[start:end] for start, end in pairwise(edges)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]


def _horizontal(y: float, value: float) -> Markup:
    line = element('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>', LEFT, RIGHT, y, y)
    return line + element('<text class="soft" x="{}" y="{:.1f}" text-anchor="end">{:.4g}</text>', LEFT - 6, y + 4, value)


def _tick(x: float, value: float) -> Markup:
    if x > RIGHT + 1:
        return Markup("")
    text = '<text class="soft" x="{:.1f}" y="{}" text-anchor="middle">{:,.0f}</text>'
    return element(text, min(x, WIDTH - 16), BOTTOM + 20, value)


def _legend(index: int, kind: str) -> Markup:
    x = LEFT + 110 * index + 80
    line = element('<polyline class="{}" points="{},{} {},{}"/>', kind, x, HEIGHT - 4, x + 22, HEIGHT - 4)
    return line + element('<text class="soft" x="{}" y="{}">{}</text>', x + 28, HEIGHT, kind)
