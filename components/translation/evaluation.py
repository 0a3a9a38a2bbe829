"""Evaluate a served translator: figures per ordered pair of domains, their means, and sheets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from components.core.batch import Split
from components.core.recipe import Metric, Report
from components.metrics.sheets import sheet
from components.translation.judges import Judges, RealImages, Settings, translate

if TYPE_CHECKING:
    from components.core.artifact import Artifact
    from components.core.settings import RunSettings

SMALLER_IS_BETTER = ("domain_error", "frechet_distance", "cycle_error")
DESCRIPTIVE = ("source", "target", "images")  # columns of a row that are not figures
COLUMNS = 8  # of a sheet: styles, references, or steps between two styles


def evaluate(served: Any, splits: dict[str, Split], settings: RunSettings, links: dict[str, Artifact]) -> Report:
    """All figures that the linked judges allow; metrics are means over the pairs that the judge of domains distinguishes."""
    from components.translation.figures import PairFigures, add_codes  # scipy: a run's settings are read without it

    block = settings.evaluate
    real = RealImages.of(splits["main"], block, served.facts)
    figures = PairFigures(served, real, Judges.of(links, real, served.facts), block)
    counted = figures.counted()
    report = Report({}, groups=real.domain, group_names=real.domains)
    rows, items = [], Items(real)
    for pair in real.pairs():
        row, verdicts = figures.row(pair)
        print({name: value if isinstance(value, str) else round(value, 3) for name, value in row.items()}, flush=True)  # noqa: T201
        rows.append(row)
        items.add(pair, verdicts)
    report.tables["pairs"] = rows
    add_means(report, [row for row, pair in zip(rows, real.pairs(), strict=True) if pair in counted])
    report.metrics["pairs_counted"] = Metric(float(len(counted)), "max")
    items.add_to(report)
    if hasattr(served, "codes"):
        add_codes(report, served, real, block)
    add_sheets(report, served, real, block)
    return report


def add_means(report: Report, rows: list[dict[str, Any]]) -> None:
    for name in rows[0]:
        if name not in DESCRIPTIVE:
            report.metrics[name] = Metric(float(np.mean([row[name] for row in rows])), better(name))


def better(figure: str) -> Literal["max", "min"]:
    return "min" if figure.startswith(SMALLER_IS_BETTER) else "max"


class Items:
    """One value per image for a paired comparison: the mean over all targets, whether or not their pair counts.

    Named ``<figure>_all_pairs``; reported only if every image of the split was translated.
    """

    def __init__(self, real: RealImages):
        self.real, self.sums = real, dict[str, np.ndarray]()

    def add(self, pair: tuple[int, int], verdicts: dict[str, np.ndarray]) -> None:
        for name, values in verdicts.items():
            total = self.sums.setdefault(f"{name}_all_pairs", np.zeros(len(self.real.images)))
            total[self.real.selected[pair[0]]] += values

    def add_to(self, report: Report) -> None:
        """Add metrics and items."""
        for name, total in self.sums.items() if self.real.complete else ():
            report.items[name] = total / (len(self.real.domains) - 1)
            report.metrics[name] = Metric(float(report.items[name].mean()), better(name))


# ------------------------------------------------------------------------------------------------ sheets


def add_sheets(report: Report, served: Any, real: RealImages, settings: Settings) -> None:
    styles = bool(served.facts["style_width"])
    if len(real.domains) > 2 or not styles:
        report.pictures["domains"] = domains_sheet(served, real, settings)
    if styles:
        report.pictures["styles"] = styles_sheet(served, real, settings)
        report.pictures["references"] = references_sheet(served, real, settings)
        report.pictures["interpolation"] = interpolation_sheet(served, real, settings)


def inputs_of(real: RealImages, rows: int) -> list[tuple[np.ndarray, int, int]]:
    """(image [1, H, W, C], source, target) per row: pairs evenly spaced over all pairs, images in turn."""
    pairs = real.pairs()
    picked = [pairs[index * len(pairs) // rows] if rows < len(pairs) else pairs[index % len(pairs)] for index in range(rows)]
    picked.sort()
    inputs = [(real.of_domain(source), row, source, target) for row, (source, target) in enumerate(picked)]
    return [(images[[row % len(images)]], source, target) for images, row, source, target in inputs]


def domains_sheet(served: Any, real: RealImages, settings: Settings) -> np.ndarray:
    """Rows: inputs. Columns: the input, then a column per domain: the translation, or the input in its own domain."""
    cells = []
    for image, source, _ in inputs_of(real, settings.rows):
        cells.append(image)
        for target in range(len(real.domains)):
            cells.append(image if target == source else translate(served, image, target, seed=settings.seed))
    return sheet(np.concatenate(cells), 1 + len(real.domains))


def styles_sheet(served: Any, real: RealImages, settings: Settings) -> np.ndarray:
    """Rows: inputs. Columns: the input, then its translations to one domain in random styles, the same in every row."""
    cells = []
    for image, _, target in inputs_of(real, settings.rows):
        cells += [image, translate(served, image.repeat(COLUMNS, 0), target, seed=settings.seed)]
    return sheet(np.concatenate(cells), 1 + COLUMNS)


def references_sheet(served: Any, real: RealImages, settings: Settings) -> np.ndarray:
    """A block per source domain: its first row shows references of the other domains, its first column the inputs."""
    per_domain, blocks = max(1, settings.rows // len(real.domains)), []
    for source in range(len(real.domains)):
        others = np.resize([target for target in range(len(real.domains)) if target != source], COLUMNS)
        examples = [real.references(target, COLUMNS, settings.seed)[[column]] for column, target in enumerate(others.tolist())]
        reference = np.concatenate(examples)
        blocks += [np.full_like(reference[:1], 128), reference]
        for image in real.of_domain(source)[:per_domain]:
            repeated = np.repeat(image[None], COLUMNS, 0)
            blocks += [image[None], translate(served, repeated, others, reference=reference)]
    return sheet(np.concatenate(blocks), 1 + COLUMNS)


def interpolation_sheet(served: Any, real: RealImages, settings: Settings) -> np.ndarray:
    """Rows: inputs. Columns: input | example | translations along the line between both examples' styles | example."""
    cells = []
    for row, (image, _, target) in enumerate(inputs_of(real, settings.rows)):
        ends = real.references(target, 2 * (row + 1), settings.seed)[-2:]
        first, last = served.styles_of(ends, np.full(2, target, np.int64))
        steps = np.linspace(0, 1, COLUMNS, dtype=np.float32)[:, None]
        between = translate(served, image.repeat(COLUMNS, 0), target, style=(1 - steps) * first + steps * last)
        cells += [image, ends[:1], between, ends[1:]]
    return sheet(np.concatenate(cells), 3 + COLUMNS)
