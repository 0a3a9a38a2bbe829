"""What an evaluation of a translator finds: a row of figures for every ordered pair of domains, their means, and sheets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from components.core.batch import Split
from components.core.recipe import Metric, Report
from components.translation.codes import add_codes
from components.translation.evaluation import Evaluation, Pair
from components.translation.judges import Judges
from components.translation.pictures import add_pictures
from components.translation.real import Real
from components.translation.settings import EvaluateSettings

if TYPE_CHECKING:
    from components.core.artifact import Artifact

SMALLER_IS_BETTER = ("domain_error", "frechet_distance", "cycle_error")
LEADING = ("source", "target", "images")  # columns of a pair that are no figures


def report(served: Any, split: Split, asked: EvaluateSettings, links: dict[str, Artifact]) -> Report:
    """All that the linked judges can say; metrics are means over the pairs of domains that the judge of domains tells apart."""
    real = Real.of(split, asked, served.facts)
    evaluation = Evaluation(served, real, Judges.of(links, real, served.facts), asked)
    counted = evaluation.counted()
    found = Report({}, groups=real.domain, group_names=real.domains)
    rows, items = [], Items(real)
    for pair in real.pairs():
        row, verdicts = evaluation.row(pair)
        print({name: value if isinstance(value, str) else round(value, 3) for name, value in row.items()}, flush=True)  # noqa: T201
        rows.append(row)
        items.add(pair, verdicts)
    found.tables["pairs"] = rows
    add_means(found, [row for row, pair in zip(rows, real.pairs(), strict=True) if pair in counted])
    found.metrics["pairs_counted"] = Metric(float(len(counted)), "max")
    items.into(found)
    if hasattr(served, "codes"):
        add_codes(found, served, real, asked)
    add_pictures(found, served, real, asked)
    return found


def add_means(found: Report, rows: list[dict[str, Any]]) -> None:
    for name in rows[0]:
        if name not in LEADING:
            found.metrics[name] = Metric(float(np.mean([row[name] for row in rows])), better(name))


def better(figure: str) -> Literal["max", "min"]:
    return "min" if figure.startswith(SMALLER_IS_BETTER) else "max"


class Items:
    """Figures one value an image, for a paired comparison: the mean over all its targets, told apart or not.

    Named ``<figure>_all_pairs``; only where every image of the split was translated.
    """

    def __init__(self, real: Real):
        self.real, self.sums = real, dict[str, np.ndarray]()

    def add(self, pair: Pair, verdicts: dict[str, np.ndarray]) -> None:
        for name, values in verdicts.items():
            total = self.sums.setdefault(f"{name}_all_pairs", np.zeros(len(self.real.images)))
            total[self.real.chosen[pair[0]]] += values

    def into(self, found: Report) -> None:
        """Metrics and items of the report."""
        for name, total in self.sums.items() if self.real.complete else ():
            found.items[name] = total / (len(self.real.domains) - 1)
            found.metrics[name] = Metric(float(found.items[name].mean()), better(name))
