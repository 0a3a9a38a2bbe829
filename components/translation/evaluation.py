"""Evaluate a served translator: figures per ordered pair of domains, their means, and sheets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from components.core.batch import Split
from components.core.recipe import Metric, Report
from components.translation.judges import Judges, RealImages

if TYPE_CHECKING:
    from components.core.artifact import Artifact
    from components.core.settings import RunSettings

SMALLER_IS_BETTER = ("domain_error", "frechet_distance", "cycle_error")
DESCRIPTIVE = ("source", "target", "images")  # columns of a row that are not figures


def evaluate(served: Any, splits: dict[str, Split], settings: RunSettings, links: dict[str, Artifact]) -> Report:
    """All figures that the linked judges allow; metrics are means over the pairs that the judge of domains distinguishes."""
    from components.translation.figures import PairFigures, add_codes  # scipy: a run's settings are read without it
    from components.translation.sheets import add_sheets

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
