"""Sheet of thumbnails (quality.png): pairs of one picture in two classes or splits, doubtful labels, odd pictures."""

from __future__ import annotations

import numpy as np

from components.stages.augment.contact import draw_sheet, enlarged
from components.stages.augment.report.findings import Findings

LINES = 8  # of each kind


def quality_sheet(name: str, images: np.ndarray, found: Findings) -> bytes | None:
    """Draw ``images`` uint8 [N, H, W, C] of the findings as PNG, a line each; None if there are none."""
    lines = [*_pair_lines(found), *_doubtful_lines(found), *_odd_lines(found)]
    if not lines:
        return None
    tiles = [[enlarged(images[row]) for row in rows] for _, rows in lines]
    title = f"{name}: duplicates in two classes or splits, doubtful labels, odd pictures"
    return draw_sheet(
        title, "left: what was found; names in the tables beside this picture", tiles, [text for text, _ in lines]
    )


def _pair_lines(found: Findings) -> list[tuple[str, list[int]]]:
    pairs = [(first, second) for first, second, _ in found.pairs if found.conflict(first, second) or found.leak(first, second)]
    lines = []
    for first, second in pairs[:LINES]:
        one, other = found.places[first], found.places[second]
        both = (one.label, other.label) if found.conflict(first, second) else (one.split, other.split)
        lines.append((f"{both[0]}, {both[1]}", [first, second]))
    return lines


def _doubtful_lines(found: Findings) -> list[tuple[str, list[int]]]:
    both = list(zip(found.suspects.rows.tolist(), found.suspects.suggested.tolist(), strict=True))[:LINES]
    return [(f"{found.places[row].label}, or {found.classes[suggested]}?", [row]) for row, suggested in both]


def _odd_lines(found: Findings) -> list[tuple[str, list[int]]]:
    return [(fault, rows[:LINES].tolist()) for fault, rows in found.odd.items() if len(rows)]
