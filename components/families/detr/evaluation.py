"""Metrics of a served detector: COCO's average precision, kinds of errors, confusion, F1 of each picture; and its pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from components.core.batch import Batch, Split, pixels_of
from components.core.config.strict import Strict
from components.core.recipe import Heatmap, Metric, Report
from components.core.settings import RunSettings
from components.families.detr import pictures
from components.families.detr.strange import STRANGE, add_strange, confidences, masks_of
from components.metrics.detections.average_precision import Figures, average_precision
from components.metrics.detections.box_errors import KINDS, Verdicts, confusion, judge
from components.metrics.detections.boxes import Detections, Truth

if TYPE_CHECKING:
    from components.core.artifact import Artifact
    from components.families.detr.served import Served

NOTHING = "(nothing)"  # row of the confusion without a true box, column without a detection


class Settings(Strict):
    """The run's ``evaluate`` block."""

    split: Literal["train", "validation", "test"] = Field(default="test", description="which images of the views are scored")
    threshold: float = Field(default=0.5, gt=0, lt=1, description="score from which a detection counts as made")
    small: float = Field(default=32.0, gt=0, description="pixels of the view: boxes below its square are small (COCO: 32)")
    large: float = Field(default=96.0, gt=0, description="pixels of the view: boxes above its square are large (COCO: 96)")
    pictures: int = Field(default=8, ge=1, le=64, description="pictures that are shown with their boxes")

    @model_validator(mode="after")
    def _ascending(self) -> Settings:
        if self.small >= self.large:
            raise ValueError(f"small: {self.small} is not allowed: below large, {self.large}")
        return self


@dataclass(frozen=True)
class Scored:
    """The detections and the truth of a view's pictures, boxes in pixels of the view, and the first pictures themselves.

    ``centres`` [N, Q, 4]: the boxes of all queries, relative; ``sure`` bool [N, Q]: their best score reaches the threshold.
    """

    found: list[Detections]
    truth: list[Truth]
    centres: np.ndarray
    sure: np.ndarray
    images: np.ndarray
    masks: np.ndarray | None

    @property
    def best(self) -> np.ndarray:
        """The best score of each picture, float64 [N]; 1 - best is how strange the picture is."""
        return np.array([one.scores.max() for one in self.found], dtype=np.float64)


def evaluate(served: Served, splits: dict[str, Split], settings: RunSettings, links: dict[str, Artifact]) -> Report:
    """Metrics of the main view by their names, of a linked view as ``<role>.<name>``; F1 of each picture for comparisons."""
    report, classes = Report({}), tuple(served.facts["classes"])
    for role, split in splits.items():
        if role.startswith(STRANGE):
            continue
        scored = score(served, split, settings.evaluate)
        prefix = "" if role == "main" else f"{role}."
        options = settings.evaluate
        found = average_precision(scored.found, scored.truth, len(classes), (options.small, options.large))
        verdicts = [judge(one, true, options.threshold) for one, true in zip(scored.found, scored.truth, strict=True)]
        f1 = np.array([verdict.f1 for verdict in verdicts])
        report.metrics.update({prefix + name: Metric(value, "max") for name, value in figures(found, f1).items()})
        report.tables[f"{prefix}per_class"] = per_class(found, scored, verdicts, classes, served.facts["unseen"])
        report.tables[f"{prefix}errors"] = errors(verdicts)
        matrix = confusion(scored.found, scored.truth, len(classes), options.threshold)
        names = (*classes, NOTHING)
        report.pictures[f"{prefix}confusion"] = Heatmap(matrix, names, rows="true class", columns="detected class")
        if role == "main":
            report.items["f1"] = f1
            report.pictures.update(drawn(served, scored, options))
            report.tables["confidence"] = confidences(scored.best)
            add_strange(report, served, scored.best, {name: one for name, one in splits.items() if name.startswith(STRANGE)})
    return report


def figures(found: Figures, f1: np.ndarray) -> dict[str, float]:
    """COCO's figures that the view has boxes for, and the mean F1 of a picture."""
    known = {name: value for name, value in found.figures.items() if not np.isnan(value)}
    return known | {"f1": float(f1.mean())}


def per_class(
    found: Figures, scored: Scored, verdicts: list[Verdicts], classes: tuple[str, ...], unseen: list[str]
) -> list[dict[str, Any]]:
    """A row per class: true boxes, AP, AP50, recall, missed boxes at the threshold, whether the training showed any."""
    labels = np.concatenate([true.labels for true in scored.truth])
    missed = np.concatenate([verdict.missed for verdict in verdicts])
    rows = []
    for index, name in enumerate(classes):
        values = {key: float(array[index]) for key, array in found.per_class.items()}
        rows.append(
            {"class": name, "boxes": int((labels == index).sum())}
            | {key: None if np.isnan(value) else round(value, 6) for key, value in values.items()}
            | {"missed": int(missed[labels == index].sum()), "in_training": "no" if name in unseen else "yes"}
        )
    return rows


def errors(verdicts: list[Verdicts]) -> list[dict[str, Any]]:
    """A row per kind of detection, and the missed true boxes."""
    kinds = np.concatenate([verdict.kind for verdict in verdicts])
    total = max(1, len(kinds))
    counts = [(kind, int((kinds == index).sum())) for index, kind in enumerate(KINDS)]
    rows: list[dict[str, Any]] = [
        {"kind": kind, "detections": count, "share": round(count / total, 4)} for kind, count in counts
    ]
    missed, boxes = (sum(int(getattr(v, name).sum()) for v in verdicts) for name in ("missed", "counted"))
    return [*rows, {"kind": "missed (of the true boxes)", "detections": missed, "share": round(missed / max(1, boxes), 4)}]


def score(served: Served, split: Split, settings: Settings) -> Scored:
    """Detect on all pictures of a split by the served code. ValueError without boxes, for other classes, for scores of NaN."""
    classes = class_index(split.facts.name, split.facts.classes.get("box_label", ()), tuple(served.facts["classes"]))
    found: list[Detections] = []
    truth: list[Truth] = []
    rest: dict[str, list[np.ndarray]] = {"centres": [], "sure": [], "images": [], "masks": []}
    for batch in split:
        pixels, mask = pixels_of(batch), masks_of(batch)
        answer = served.detect(pixels, mask)
        if not np.isfinite(answer["score"]).all():
            raise ValueError(f"view {split.facts.name!r}: the detector's scores are not finite; train it again")
        found += [Detections(*row) for row in zip(answer["box"], answer["score"], answer["label"], strict=True)]
        truth += true_boxes(batch, classes)
        rest["centres"].append(answer["boxes"])
        rest["sure"].append(confidence(answer["logits"], len(served.facts["classes"])) >= settings.threshold)
        room = max(0, settings.pictures - sum(map(len, rest["images"])))
        rest["images"].append(pixels[:room])
        rest["masks"] += [] if mask is None else [mask[:room]]
    joined = {name: np.concatenate(arrays) if arrays else None for name, arrays in rest.items()}
    return Scored(found, truth, joined["centres"], joined["sure"], joined["images"], joined["masks"])  # type: ignore[arg-type]


def class_index(view: str, names: tuple[str, ...], classes: tuple[str, ...]) -> np.ndarray:
    """int64 [classes of the view] -> the detector's class of that name. ValueError if it has none, or there are no boxes."""
    if not names:
        raise ValueError(f"view {view!r} has no boxes: a detector cannot be measured on it")
    if unknown := [name for name in names if name not in classes]:
        listed = ", ".join(unknown[:8]) + (", ..." if len(unknown) > 8 else "")
        raise ValueError(f"view {view!r} has classes that the detector was not trained on: {listed}")
    return np.array([classes.index(name) for name in names], dtype=np.int64)


def true_boxes(batch: Batch, classes: np.ndarray) -> list[Truth]:
    """The true boxes of each picture, corners in pixels of the view."""
    height, width = pixels_of(batch).shape[1:3]
    arrays = (batch[name].numpy() for name in ("boxes", "box_label", "box_mask"))
    truth = []
    for boxes, label, mask in zip(*arrays, strict=True):
        centre, half = boxes[mask][:, :2].astype(np.float64), boxes[mask][:, 2:].astype(np.float64) / 2
        corners = np.concatenate([centre - half, centre + half], 1) * [width, height, width, height]
        truth.append(Truth(corners, classes[label[mask]]))
    return truth


def confidence(logits: np.ndarray, num_classes: int) -> np.ndarray:
    """The best score of each query, logits [N, Q, K'] -> [N, Q]; with K + 1 logits the last is "no object"."""
    if logits.shape[-1] == num_classes:
        return np.asarray(1 / (1 + np.exp(-logits.max(-1))))
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(shifted[..., :-1].max(-1) / shifted.sum(-1))


def drawn(served: Served, scored: Scored, settings: Settings) -> dict[str, np.ndarray | Heatmap]:
    """The report's pictures; those of the attention only if it was exported."""
    names, count = served.facts["classes"], len(scored.images)
    shown = [kept(one, settings.threshold) for one in scored.found[:count]]
    found: dict[str, np.ndarray | Heatmap] = {
        "detections": pictures.detections_page(scored.images, shown, scored.truth[:count], names),
        "queries": pictures.queries_page(scored.centres, scored.sure),
    }
    few = slice(0, min(count, 3))
    attention = served.attention(scored.images[few], None if scored.masks is None else scored.masks[few])
    if attention is not None:
        levels = served.facts["levels"]
        best = [Detections(one.boxes[:5], one.scores[:5], one.labels[:5]) for one in scored.found[few]]
        queries = [
            nearest(one.boxes, row, scored.images.shape[1:3]) for one, row in zip(best, scored.centres[few], strict=True)
        ]
        rows = zip(best, attention["decoder"], queries, strict=True)
        looks = [pictures.Looks(one, weights[query]) for one, weights, query in rows]
        found["encoder_attention"] = pictures.encoder_page(scored.images[few], attention["encoder"], levels)
        found["decoder_attention"] = pictures.decoder_page(scored.images[few], looks, names, levels)
    return found


def kept(found: Detections, threshold: float) -> Detections:
    """The detections that reach the threshold."""
    rows = found.scores >= threshold
    return Detections(found.boxes[rows], found.scores[rows], found.labels[rows])


def nearest(boxes: np.ndarray, centres: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """The query of each detection: boxes [n, 4] in pixels, all queries' boxes [Q, 4] relative -> int64 [n]."""
    height, width = size
    half = centres[:, 2:] / 2
    corners = np.concatenate([centres[:, :2] - half, centres[:, :2] + half], 1) * [width, height, width, height]
    corners = corners.clip(0, [width, height, width, height])
    return np.asarray(np.abs(boxes[:, None] - corners[None]).sum(-1).argmin(1))
