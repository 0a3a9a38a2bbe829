"""Evaluate a StarGAN of attributes: flip one attribute of each real image, and let a classifier read the translations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from components.core.batch import Split, pixels_of
from components.core.recipe import Metric, Report
from components.metrics.sheets import sheet
from components.serving.loading import load_served

if TYPE_CHECKING:
    from components.core.artifact import Artifact
    from components.core.settings import RunSettings

ROLE = "attributes"  # of the link to a judge: another StarGAN's export, whose classifier was trained apart from this generator
OWN = "own"  # the model's own classifier, by which its generator was trained
LOWER_IS_BETTER = ("cycle_error",)
BATCH = 256


@dataclass(frozen=True)
class Reader:
    """A classifier of attributes; ``columns`` int64 [K]: its outputs for this model's K attributes."""

    served: Any
    name: str
    columns: np.ndarray

    @classmethod
    def of(cls, served: Any, links: dict[str, Artifact], names: list[str]) -> Reader:
        """Return the linked judge, or else the model's own classifier; ValueError for a judge of other images or attributes."""
        if ROLE not in links:
            return cls(served, OWN, np.arange(len(names)))
        folder = links[ROLE].path
        judge = load_served(folder)
        if not judge.facts.get("several", [False])[0]:
            raise ValueError(f"link {ROLE}: {folder.name} reads no attributes; the export of a stargan run of attributes does")
        if missing := [name for name in names if name not in judge.facts["domains"]]:
            raise ValueError(f"link {ROLE}: {folder.name} does not know {', '.join(missing)}")
        theirs, own = ((facts["image_size"], facts["channels"]) for facts in (judge.facts, served.facts))
        if theirs != own:
            raise ValueError(f"link {ROLE}: {folder.name} sees images of (side, channels) {theirs}, this model makes {own}")
        return cls(judge, folder.name, np.array([judge.facts["domains"].index(name) for name in names]))

    def read(self, images: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, C] -> whether each attribute is seen, bool [N, K]."""
        parts = [self.served.attributes(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
        return np.concatenate(parts)[:, self.columns] > 0.5


def evaluate(served: Any, splits: dict[str, Split], settings: RunSettings, links: dict[str, Artifact]) -> Report:
    """Metrics are means over the attributes that the classifier reads on real images."""
    real = RealImages.of(splits["main"], settings.evaluate, served.facts)
    names = served.facts["domains"][: real.labels.shape[1]]
    reader = Reader.of(served, links, names)
    seen = reader.read(real.images)
    rows = [row_of(served, reader, real, attribute) for attribute in range(len(names))]
    for attribute, row in enumerate(rows):
        row[f"read_{reader.name}"] = float(np.mean(seen[:, attribute] == (real.labels[:, attribute] > 0.5)))
    report = Report({}, tables={"attributes": rows})
    counted = counted_rows(rows, reader.name, settings.evaluate.min_judge_accuracy)
    for figure in [name for name in rows[0] if name not in ("attribute", "images")]:
        value = float(np.mean([row[figure] for row in counted]))
        report.metrics[figure] = Metric(value, "min" if figure in LOWER_IS_BETTER else "max")
    report.metrics["attributes_counted"] = Metric(float(len(counted)), "max")
    report.pictures["flips"] = flips_sheet(served, real.first(settings.evaluate.rows), names)
    return report


@dataclass(frozen=True)
class RealImages:
    """Images uint8 [n, H, W, C] and their attributes, 0 or 1, float32 [n, K]."""

    images: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, split: Split, settings: Any, facts: dict[str, Any]) -> RealImages:
        """Choose at most ``images`` images of the split in random order; ValueError if the model has other attributes."""
        names = tuple(split.facts.classes.get("labels", ()))
        if tuple(facts["domains"][: len(names)]) != names or not names:
            theirs, own = ", ".join(facts["domains"]), ", ".join(names) or "none"
            raise ValueError(f"view {split.facts.name!r} has the attributes {own}; the model was made for {theirs}")
        parts = [(pixels_of(batch), batch["labels"].numpy()) for batch in split]
        images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        chosen = np.random.default_rng(settings.seed).permutation(len(images))[: settings.images]
        return cls(images[chosen], (labels[chosen] > 0.5).astype(np.float32))

    def first(self, count: int) -> RealImages:
        """The first images."""
        return RealImages(self.images[:count], self.labels[:count])


def row_of(served: Any, reader: Reader, real: RealImages, attribute: int) -> dict[str, Any]:
    """Figures of one attribute, over the images that a flip changes.

    ``flipped``: the classifier reads the target in the translation; ``others_kept``: it reads the others as they are to be;
    ``cycle_error``: mean |x - back| in units of [0, 1] after a flip back. ``read``, which is added: on real images, a ceiling.
    """
    name, others = served.facts["domains"][attribute], np.arange(real.labels.shape[1]) != attribute
    target = served.flipped(real.labels, name)
    moved = np.flatnonzero((target != real.labels).any(axis=1))
    figures = {f"read_{reader.name}": 0.0, f"flipped_{reader.name}": 0.0, f"others_kept_{reader.name}": 1.0, "cycle_error": 0.0}
    if len(moved):
        images, target, own = real.images[moved], target[moved], real.labels[moved]
        translated = served.translate_to(images, target)
        right = reader.read(translated) == (target > 0.5)
        back = served.translate_to(translated, own)
        figures[f"flipped_{reader.name}"] = float(right[:, attribute].mean())
        figures[f"others_kept_{reader.name}"] = float(right[:, others].mean()) if others.any() else 1.0
        figures["cycle_error"] = float(np.abs(back.astype(np.float64) - images).mean() / 255)
    return {"attribute": name, "images": len(moved)} | figures


def counted_rows(rows: list[dict[str, Any]], reader: str, least: float) -> list[dict[str, Any]]:
    """The attributes with images to flip that the classifier reads on real ones; ValueError if there are none."""
    counted = [row for row in rows if row["images"] and row[f"read_{reader}"] >= least]
    if counted:
        return counted
    best = max(rows, key=lambda row: row[f"read_{reader}"])
    fault = f"the classifier ({reader}) reads no attribute of real images at {least:g} or better"
    raise ValueError(f"evaluate.min_judge_accuracy: {fault}, the best, {best['attribute']}, at {best[f'read_{reader}']:.3f}")


def flips_sheet(served: Any, real: RealImages, names: list[str]) -> np.ndarray:
    """Rows: inputs. Columns: the input, then one with each attribute flipped (arXiv 1711.09020, figure 4)."""
    flips = (served.translate_to(real.images, served.flipped(real.labels, name)) for name in names)
    columns = np.stack([real.images, *flips], axis=1)  # [n, 1 + K, H, W, C]
    return sheet(columns.reshape(-1, *real.images.shape[1:]), 1 + len(names))
