"""Prepare a dataset as a view: decode, split, check, write. The folder is renamed at the end: a view is complete or absent."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from components.core.batch import ViewFacts
from components.core.files import fresh_folder, write_atomically, write_json
from components.serving.text import BYTES, FILE, Tokeniser
from components.stages.augment.contact import COLUMNS, LINES, contact_sheet, pick
from components.stages.augment.divide import Divided, divide
from components.stages.augment.policy.policies import ViewSettings
from components.stages.augment.policy.validation import validate_corruption, validate_policy
from components.stages.augment.quality.similarity import Similarity, identity_of
from components.stages.augment.raw.layouts import read_dataset
from components.stages.augment.report.rows import write_rows
from components.stages.augment.report.samples import write_samples
from components.stages.augment.report.write import write_findings
from components.stages.augment.table import choose_columns, decode_all
from components.stages.augment.tokens import TEXT_REPORT, captions_of, text_report, tokenise, tokeniser_of
from components.stages.augment.write import Writer, augmented_chunks, corrupt_in_place, original_chunks, statistics
from components.stages.views.draws import Augmenter, load_augmenter
from components.stages.views.frames import Arrays

ORDER = ("train", "validation", "test")


def make_view(
    name: str,
    settings: ViewSettings,
    dataset: Path,
    out: Path,
    seed: int,
    *,
    report: Path | None = None,
    root: Path = Path(),
) -> ViewFacts:
    """Write the view's folder ``out``, and its report if there is a folder for it. ``root``: where relative settings start.

    ValueError for an invalid policy, file or split, and for leakage.
    """
    key = f"views.{name}"
    raw, classes = read_dataset(dataset)
    boxes = next(iter(raw.values())).annotations.boxes is not None
    form = validate_policy(name, settings, boxes)
    augmenter = load_augmenter(form, settings.shown) if form else None
    corruption = validate_corruption(name, settings, boxes)
    with fresh_folder(out) as folder, fresh_folder(report) if report else nullcontext() as report_folder:
        scratch = folder / "scratch"
        table, classes = choose_columns(decode_all(raw, settings, scratch), classes, settings, key)
        similarity = Similarity.of(table, settings) if _compares(settings, report) else None
        data = divide(table, classes, settings, seed, key, identity=identity_of(table, similarity, settings))
        if report_folder:
            write_rows(report_folder, raw, data, settings.copies if augmenter else 0)
            if settings.quality and similarity:
                write_findings(report_folder, name, data, similarity, settings)
        if corruption:  # after the splits, which depend on the original images
            corrupt_in_place(table.arrays, load_augmenter(corruption, settings.stored), seed)
        tokeniser = tokeniser_of(data, settings.text, f"{key}.text", root) if settings.text else None
        facts = _write_arrays(folder, name, data, settings, _copies(data, settings, augmenter, seed), tokeniser=tokeniser)
        dropped = {"unreadable": len(table.unreadable), "unreadable_names": table.unreadable[:20], "leaked": data.leaked}
        dropped |= {"conflicts": data.conflicts} if settings.conflicts == "drop" else {}
        write_json(folder / "view.json", {**_facts_as_json(facts), "dropped": dropped}, ensure_ascii=False)
        write_json(folder / "policy.json", None if settings.copies else form, ensure_ascii=False)
        if tokeniser and tokeniser.kind != BYTES:
            write_json(folder / FILE, tokeniser.as_json(), ensure_ascii=False)
        if tokeniser and report_folder:
            write_json(report_folder / TEXT_REPORT, text_report(data, tokeniser))
        _write_contact(folder, facts, data, augmenter, seed, corrupted=corruption is not None)
        if report_folder:  # the samples show what became of the pictures
            write_samples(report_folder / "samples", raw, data, corrupted=corruption is not None)
        shutil.rmtree(scratch)
    return facts


def _compares(settings: ViewSettings, report: Path | None) -> bool:
    return settings.near_duplicates == "equal" or (settings.quality and report is not None)


def _facts_as_json(facts: ViewFacts) -> dict[str, Any]:
    """Convert the facts to JSON; fields with default values are omitted."""
    return {field.name: value for field in fields(facts) if (value := getattr(facts, field.name)) != field.default}


def _copies(data: Divided, settings: ViewSettings, augmenter: Augmenter | None, seed: int) -> list[Iterator[Arrays]]:
    """Return the augmented copies of the training images, in chunks."""
    if augmenter is None or "train" not in data.splits:
        return []
    arrays, rows = data.table.arrays, data.splits["train"]
    return [augmented_chunks(arrays, rows, augmenter, copy, seed) for copy in range(settings.copies)]


def _write_arrays(
    folder: Path,
    name: str,
    data: Divided,
    settings: ViewSettings,
    copies: list[Iterator[Arrays]],
    *,
    tokeniser: Tokeniser | None,
) -> ViewFacts:
    """Write all splits' arrays, the training images followed by their copies; return the facts.

    Mean and standard deviation are those of the training split, or of the first split if there is none.
    """
    writer, arrays = Writer(folder), data.table.arrays
    counts, levels = {}, {}
    for split in [split for split in ORDER if split in data.splits]:
        extra = copies if split == "train" else []
        counts[split] = len(data.splits[split]) * (1 + len(extra))
        levels[split] = _write_split(writer, split, data, settings, extra, tokeniser=tokeniser)
    mean, std = statistics(next(iter(levels.values())))
    return ViewFacts(
        name,
        settings.image_size,
        settings.channels,
        data.classes,
        mean,
        std,
        counts,
        writer.digest,
        max_boxes=arrays["boxes"].shape[1] if "boxes" in arrays else 0,
        masked="image_mask" in arrays,
        **(tokeniser.facts() if tokeniser else {}),
    )


def _write_split(
    writer: Writer,
    split: str,
    data: Divided,
    settings: ViewSettings,
    extra: list[Iterator[Arrays]],
    *,
    tokeniser: Tokeniser | None,
) -> np.ndarray:
    """Write one split's images, columns, texts and annotations; return the histogram of grey levels."""
    table = data.table
    rows = np.tile(data.splits[split], 1 + len(extra))
    levels = writer.pictures(split, len(rows), chain(original_chunks(table.arrays, data.splits[split]), *extra))
    for column in sorted(table.columns):
        writer.column(split, column, table.columns[column][rows])
    texts = [table.texts[row] for row in rows] if table.texts is not None else None
    if texts is not None:
        writer.texts(split, texts)
    for name in sorted(set(table.arrays) - {"image"}):
        writer.moving(split, name)
    if table.labels is not None:
        writer.array(split, "labels", table.labels[rows])
    if settings.text and tokeniser and texts is not None:
        captions = [captions_of(text) for text in texts]
        starts = np.cumsum([0, *map(len, captions)], dtype=np.int64)
        writer.array(split, "token_start", starts)
        writer.array(split, "tokens", tokenise(list(chain(*captions)), tokeniser, settings.text.truncate))
    return levels


def _write_contact(
    folder: Path, facts: ViewFacts, data: Divided, augmenter: Augmenter | None, seed: int, *, corrupted: bool
) -> None:
    """Write the contact sheet with some images of the first split, balanced over classes."""
    table, rows = data.table, data.splits[next(iter(facts.counts))]
    labels = table.columns[data.primary] if data.primary else np.zeros(len(table.images), dtype=np.int64)
    words = _words(data, facts.context_length > 0)
    lines = augmenter is not None or set(words) > {data.primary}
    shown = rows[pick(labels[rows], LINES if lines else LINES * COLUMNS)]
    arrays = {name: array[shown] for name, array in table.arrays.items()}
    beside = [", ".join(filter(None, (word(row) for word in words.values()))) for row in shown] if lines else None
    write_atomically(folder / "contact.png", contact_sheet(facts, arrays, beside, augmenter, seed, corrupted=corrupted))


def _words(data: Divided, texts: bool) -> dict[str | None, Callable[[int], str]]:
    """Return functions from a row to its captions on the sheet: class, several classes, classes of boxes, a caption.

    ``texts``: whether the view has tokens.
    """
    table, classes = data.table, {column: np.array(names) for column, names in data.classes.items()}
    words: dict[str | None, Callable[[int], str]] = {}
    if (column := data.primary) is not None:
        words[column] = lambda row: str(classes[column][table.columns[column][row]])
    if (labels := table.labels) is not None:
        words["labels"] = lambda row: "+".join(classes["labels"][labels[row] > 0.5])
    if "boxes" in table.arrays:
        masks, box_labels = table.arrays["box_mask"], table.arrays["box_label"]
        words["boxes"] = lambda row: "+".join(classes["box_label"][np.unique(box_labels[row][masks[row]])])
    if (captions := table.texts) is not None and texts:
        words["text"] = lambda row: captions_of(captions[row])[0]
    return words
