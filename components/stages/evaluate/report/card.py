"""The model card (Mitchell et al. 2019, arXiv 1810.03993): what the model is, its data, its settings, its limits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from components.core.batch import ViewFacts
from components.core.recipe import Report
from components.metrics.classification import MIN_IMAGES
from components.stages.evaluate.report.page import Facts, Section, Text

NAMED = 12  # classes that are named in a line
Card = dict[str, Any]  # outputs/code/card/<run>.json


def card_sections(run: dict[str, Any], card: Card, view: ViewFacts, export: dict[str, Any]) -> list[Section]:
    """Return the sections "Model" and "Data". ``run``: the training's settings.json; ``export``: the export's facts.json."""
    model = dict(run.get("model", {}))
    facts: list[tuple[str, Any]] = [("recipe", run.get("recipe")), ("network", model.pop("name", None))]
    facts += [(name, text(value)) for name, value in model.items() if value is not None]
    facts += [("input", f"{view.height} x {view.width} pixels, {'colour' if view.channels == 3 else 'grey'}")]
    if detector := export.get("detector"):
        facts.append(("out-of-distribution score", detector if isinstance(detector, str) else text(detector)))
    blocks: list[Facts | Text] = [Facts([row for row in facts if row[1] is not None])]
    if taken := run.get("train", {}).get("init"):
        blocks.append(Text([f"Initial weights: {line}" for start in taken for line in start_lines(start)], listed=True))
    return [Section("Model", blocks), Section("Data", [Facts(list(data_rows(card, view)))])]


def start_lines(start: Any) -> Iterator[str]:
    """Yield the lines on one file of initial weights: an entry of ``train.init``, or a sentence of an older training."""
    if not isinstance(start, dict):
        yield str(start)
        return
    yield f"{start['role']}: {start['file']} (MD5 {start['md5']}), {start['taken']} tensors taken as they are"
    for kind in ("read", "adapted", "fresh", "left_out", "kept"):
        yield from (f"{start['role']}: {line}" for line in start[kind])


def data_rows(card: Card, view: ViewFacts) -> Iterator[tuple[str, Any]]:
    """Yield the lines about the view: source, licence, classes, splits, preparation."""
    block = card.get("view", {})
    yield "view", view.name
    yield "dataset", f"{block.get('dataset', 'unknown')} (source: {card.get('source') or 'unknown'})"
    yield "licence", card.get("licence") or "not stated (datasets.<name>.licence)"
    for column, names in view.classes.items():
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        yield f"classes of {column}", f"{len(names)}: {', '.join(names[:NAMED])}{more}"
    yield "pictures", ", ".join(f"{split} {count:,}" for split, count in view.counts.items())
    if "split" in block:
        yield "split", text(block["split"])
    for name in ("stored_size", "fit", "background", "levels", "leakage"):
        if block.get(name) is not None:
            yield name, text(block[name])
    if block.get("augment"):
        yield (
            "augmentation",
            ", ".join(name for step in block["augment"] for name in (step if isinstance(step, dict) else [step])),
        )
    yield "digest of the view", view.digest


def settings_section(run: dict[str, Any], evaluate: dict[str, Any]) -> Section:
    """Return every setting of the training and of the evaluation that has a value."""
    train = {name: value for name, value in run.get("train", {}).items() if value is not None and name != "init"}
    rows = [(f"train.{name}", text(value)) for name, value in train.items()]
    return Section("Settings", [Facts(rows + [(f"evaluate.{name}", text(value)) for name, value in evaluate.items()])])


def limits_section(report: Report, split: str, card: Card, export: dict[str, Any]) -> Section:
    """Return what the figures do not say."""
    return Section("Limits", [Text(list(limits(report, split, card, export)), listed=True)])


def limits(report: Report, split: str, card: Card, export: dict[str, Any]) -> Iterator[str]:
    """Yield the limits of this evaluation, a sentence or two each."""
    number = len(report.groups) if report.groups is not None else 0
    counted = f"{number:,} pictures" if number else "the pictures"
    yield f"Measured on {counted} of the {split} split, which come from the same source as those it was trained on."
    if split != "test":
        yield f"The {split} split is no test: the model, or the choice of its settings, may have used these pictures."
    if report.items:
        yield "The intervals are of the choice of pictures alone: another training, or other pictures, can differ by more."
    few = few_images(report)
    if few:
        listed = ", ".join(few[:NAMED]) + (f" and {len(few) - NAMED} more" if len(few) > NAMED else "")
        yield f"Classes with fewer than {MIN_IMAGES} pictures there, for which no figure is given: {listed}."
    by = card.get("view", {}).get("split") or {}
    if isinstance(by, dict) and by.get("by") == "image":
        yield "Pictures were split one by one: if several show the same thing, the figures are too good; split them by group."
    if report.probabilities is not None and "detector" not in export:
        yield "It answers with one of its classes whatever a picture shows: no detector (block `detect`) is part of it."


def few_images(report: Report) -> list[str]:
    """Return the classes with fewer than ``MIN_IMAGES`` images, of a classifier."""
    if report.probabilities is None or report.groups is None:
        return []
    counts = np.bincount(report.groups, minlength=len(report.group_names))
    return [name for name, count in zip(report.group_names, counts, strict=True) if count < MIN_IMAGES]


def text(value: Any) -> str:
    """Format a setting: text as it stands, a mapping as its names and values, anything else as JSON."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {text(entry)}" for name, entry in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
