"""Sheets of translations: inputs beside their translations by domain, by random style, by example, and between two examples."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.core.recipe import Report
from components.metrics.sheets import sheet
from components.translation.real import Real, translated
from components.translation.settings import EvaluateSettings

COLUMNS = 8  # of styles, references, steps between two styles


def add_pictures(found: Report, served: Any, real: Real, asked: EvaluateSettings) -> None:
    styles = bool(served.facts["style_width"])
    if len(real.domains) > 2 or not styles:
        found.pictures["domains"] = domains_sheet(served, real, asked)
    if styles:
        found.pictures["styles"] = styles_sheet(served, real, asked)
        found.pictures["references"] = references_sheet(served, real, asked)
        found.pictures["interpolation"] = interpolation_sheet(served, real, asked)


def inputs_of(real: Real, rows: int) -> list[tuple[np.ndarray, int, int]]:
    """(image [1, H, W, C], source, target) of each row: pairs spread evenly from the first to the last, images in turn."""
    pairs = real.pairs()
    picked = [pairs[index * len(pairs) // rows] if rows < len(pairs) else pairs[index % len(pairs)] for index in range(rows)]
    picked.sort()
    chosen = [(real.of_domain(source), row, source, target) for row, (source, target) in enumerate(picked)]
    return [(images[[row % len(images)]], source, target) for images, row, source, target in chosen]


def domains_sheet(served: Any, real: Real, asked: EvaluateSettings) -> np.ndarray:
    """Rows: inputs. First column the input, then a column a domain: the translation there, or the input where it is at home."""
    cells = []
    for image, source, _ in inputs_of(real, asked.rows):
        cells.append(image)
        for target in range(len(real.domains)):
            cells.append(image if target == source else translated(served, image, target, seed=asked.seed))
    return sheet(np.concatenate(cells), 1 + len(real.domains))


def styles_sheet(served: Any, real: Real, asked: EvaluateSettings) -> np.ndarray:
    """Rows: inputs. First column the input, then its translations to one domain in random styles, the same in every row."""
    cells = []
    for image, _, target in inputs_of(real, asked.rows):
        cells += [image, translated(served, image.repeat(COLUMNS, 0), target, seed=asked.seed)]
    return sheet(np.concatenate(cells), 1 + COLUMNS)


def references_sheet(served: Any, real: Real, asked: EvaluateSettings) -> np.ndarray:
    """A block a source domain: its first row shows references of the other domains, its first column the inputs."""
    each, blocks = max(1, asked.rows // len(real.domains)), []
    for source in range(len(real.domains)):
        others = np.resize([target for target in range(len(real.domains)) if target != source], COLUMNS)
        examples = [real.references(target, COLUMNS, asked.seed)[[column]] for column, target in enumerate(others.tolist())]
        reference = np.concatenate(examples)
        blocks += [np.full_like(reference[:1], 128), reference]
        for image in real.of_domain(source)[:each]:
            repeated = np.repeat(image[None], COLUMNS, 0)
            blocks += [image[None], translated(served, repeated, others, reference=reference)]
    return sheet(np.concatenate(blocks), 1 + COLUMNS)


def interpolation_sheet(served: Any, real: Real, asked: EvaluateSettings) -> np.ndarray:
    """Rows: inputs. Columns: input | example | from its style straight to another example's, in even steps | that example."""
    cells = []
    for row, (image, _, target) in enumerate(inputs_of(real, asked.rows)):
        ends = real.references(target, 2 * (row + 1), asked.seed)[-2:]
        first, last = served.styles_of(ends, np.full(2, target, np.int64))
        steps = np.linspace(0, 1, COLUMNS, dtype=np.float32)[:, None]
        between = translated(served, image.repeat(COLUMNS, 0), target, style=(1 - steps) * first + steps * last)
        cells += [image, ends[:1], between, ends[1:]]
    return sheet(np.concatenate(cells), 3 + COLUMNS)
