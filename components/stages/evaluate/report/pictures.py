"""The pictures of a split with their names, for galleries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.core.files import read_json
from components.core.recipe import Report
from components.stages.evaluate.report.images import uri
from components.stages.evaluate.report.page import Card
from components.stages.views.frames import centre_crop
from components.stages.views.view import View

LIKELIEST = 3  # classes of a card


@dataclass(frozen=True)
class Pictures:
    """One split of a view. ``names``: the pictures' relative names, () if the view does not know them."""

    view: View
    split: str
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, workspace: Path, view: View, split: str) -> Pictures:
        """Open the split; the names are those of the view's report."""
        names = read_json(workspace / "outputs" / "view_report" / view.folder.name / "names.json").get(split, [])
        return cls(view, split, tuple(map(str, names)))

    @property
    def count(self) -> int:
        """The number of pictures."""
        return self.view.facts.counts[self.split]

    def name(self, row: int) -> str:
        """Return the name of the picture of this row, or the split and the row."""
        return self.names[row] if row < len(self.names) else f"{self.split} {row}"

    def pixels(self, row: int) -> np.ndarray:
        """Return uint8 [H, W, C], as it is evaluated."""
        facts = self.view.facts
        image: np.ndarray = centre_crop({"image": self._arrays()[row : row + 1]}, (facts.height, facts.width), None)["image"][0]
        return image

    def _arrays(self) -> np.ndarray:
        return self.view.split(self.split).images

    def card(self, report: Report, row: int, *lines: str) -> Card:
        """Return the picture with its true class and the likeliest classes with their probabilities."""
        assert report.probabilities is not None
        assert report.groups is not None
        names, truth = report.group_names, int(report.groups[row])
        bars = likeliest(report.probabilities[row], names, truth)
        return Card([uri(self.pixels(row))], self.name(row), [f"is {names[truth]}", *lines], bars)


def likeliest(probabilities: np.ndarray, names: tuple[str, ...], truth: int) -> list[tuple[str, float, bool]]:
    """Return (name, probability, is it the true class) of the likeliest classes [K], and of the true class at the end."""
    order: list[Any] = np.argsort(-probabilities, kind="stable")[:LIKELIEST].tolist()
    shown = order if truth in order else [*order, truth]
    return [(names[index], float(probabilities[index]), index == truth) for index in shown]
