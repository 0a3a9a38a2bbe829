"""What quantisation costs: the float graph of a quantised export scored on the same images, for the report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.core.recipe import Metric, Report
from components.metrics.classification import summarise
from components.metrics.intervals import mean_interval
from components.serving.float_graph import FLOAT, MODEL, float_export, is_quantised
from components.serving.loading import load_served

if TYPE_CHECKING:
    from components.families.classification.served import Served

PREFIX, TABLE = "float.", "int8_against_float"


class Paired:
    """Served code of a quantised export; ``scores`` also notes the logits of its float graph."""

    def __init__(self, served: Served, reference: Served) -> None:
        self.served, self.reference = served, reference
        self.facts = served.facts
        self.noted: list[np.ndarray] = []

    def scores(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return the scores of the quantised graph."""
        self.noted.append(self.reference.scores(image)["logits"])
        return self.served.scores(image)


@contextmanager
def paired(served: Served) -> Iterator[Served | Paired]:
    """Yield ``served`` paired with its float graph if its export is quantised, else ``served`` itself."""
    folder = getattr(served, "folder", None)  # exports of before have none
    if folder is None or not is_quantised(folder):
        yield served
        return
    with float_export(folder) as other:
        yield Paired(served, load_served(other))


def add_float(report: Report, served: Served | Paired, bins: int) -> None:
    """Add the float graph's accuracy, and a table of all its figures beside those of the served graph, to the report.

    The images of the main view were scored first. Intervals are of the mean difference, int8 - float, image by image.
    """
    if not isinstance(served, Paired) or report.groups is None:
        return
    logits = np.concatenate(served.noted)[: len(report.groups)]
    found = summarise(logits, report.groups, bins)
    report.metrics[f"{PREFIX}accuracy"] = Metric(found.figures["accuracy"], "max")
    rows = [_row(name, report, found.items.get(name), value) for name, value in found.figures.items()]
    report.tables[TABLE] = [*rows, *_whole(report, logits, served.served.folder)]


def _whole(report: Report, logits: np.ndarray, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of the graphs as a whole: share of images in the same class, and size."""
    same = float((np.asarray(report.probabilities).argmax(1) == logits.argmax(1)).mean())
    sizes = [(folder / name).stat().st_size / 1e6 for name in (MODEL, FLOAT)]
    empty = {"difference": None, "95 % interval": None}
    yield empty | {"figure": "images in the same class as by the float graph", "int8": same, "float": 1.0}
    yield {
        "figure": "graph (MB)",
        "int8": sizes[0],
        "float": sizes[1],
        "difference": sizes[0] - sizes[1],
        "95 % interval": None,
    }


def _row(name: str, report: Report, items: np.ndarray | None, value: float) -> dict[str, Any]:
    """Return the row of one figure; ``items``: the float graph's, one value per image."""
    own = report.metrics[name].value
    row: dict[str, Any] = {"figure": name, "int8": own, "float": value, "difference": own - value, "95 % interval": None}
    if items is not None:
        difference = np.asarray(report.items[name]) - items
        same = not difference.any()  # an interval of equal numbers would say that there is no doubt
        row["95 % interval"] = "equal on every image" if same else "{:+.4f} to {:+.4f}".format(*signed_interval(difference))
    return row


def signed_interval(difference: np.ndarray) -> tuple[float, float]:
    """Return the interval of the mean of paired differences; those of right and wrong are -1, 0 and 1, and no proportion."""
    shift = 2.0  # values of 0 and 1 alone would be taken for a proportion
    low, high = mean_interval(difference + shift)
    return low - shift, high - shift
