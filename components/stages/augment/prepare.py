"""A dataset becomes a view: decode, split, check, write. Built beside its place and renamed: a view is whole or absent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from components.core.batch import ViewFacts
from components.core.files import fresh_folder, write_atomically
from components.stages.augment.contact import contact_sheet, pick
from components.stages.augment.divide import Divided, divide
from components.stages.augment.draws import Augmenter, load_policy
from components.stages.augment.layouts import read_dataset
from components.stages.augment.policies import ViewSettings, validate_corruption, validate_policy
from components.stages.augment.table import choose_columns, decode_all
from components.stages.augment.write import Writer, augmented_chunks, corrupt_in_place, original_chunks, statistics

ORDER = ("train", "validation", "test")


def make_view(name: str, settings: ViewSettings, dataset: Path, out: Path, seed: int) -> ViewFacts:
    """Write the view's folder ``out``. ValueError for all that a user can mend: the policy, a file, the splits, a leak."""
    form = validate_policy(name, settings)
    augmenter = Augmenter(load_policy(form)) if form else None
    corruption = validate_corruption(name, settings)
    with fresh_folder(out) as folder:
        scratch = folder / "scratch.npy"
        raw, classes = read_dataset(dataset)
        table, classes = choose_columns(decode_all(raw, settings, scratch), classes, settings, f"views.{name}")
        data = divide(table, classes, settings, seed, f"views.{name}")
        if corruption:  # after the splits, which are made by what the images were
            corrupt_in_place(table.images, Augmenter(load_policy(corruption)), seed)
        facts = _write_arrays(folder, name, data, _copies(data, settings, augmenter, seed))
        dropped = {"unreadable": len(table.unreadable), "unreadable_names": table.unreadable[:20], "leaked": data.leaked}
        _write_json(folder / "view.json", {**asdict(facts), "dropped": dropped})
        _write_json(folder / "policy.json", None if settings.copies else form)
        _write_contact(folder, facts, data, augmenter, seed, corrupted=corruption is not None)
        scratch.unlink()
    return facts


def _copies(data: Divided, settings: ViewSettings, augmenter: Augmenter | None, seed: int) -> list[Iterator[np.ndarray]]:
    """The augmented copies of the training images, as chunks."""
    if augmenter is None or "train" not in data.splits:
        return []
    images, rows = data.table.images, data.splits["train"]
    return [augmented_chunks(images, rows, augmenter, copy, seed) for copy in range(settings.copies)]


def _write_arrays(folder: Path, name: str, data: Divided, copies: list[Iterator[np.ndarray]]) -> ViewFacts:
    """All splits' arrays, the training images followed by their copies; returns what follows from them.

    Mean and standard deviation are those of the first split where there is none to train on.
    """
    writer = Writer(folder)
    counts, levels = {}, {}
    for split in [split for split in ORDER if split in data.splits]:
        extra = copies if split == "train" else []
        counts[split] = len(data.splits[split]) * (1 + len(extra))
        levels[split] = _write_split(writer, split, data, extra)
    mean, std = statistics(next(iter(levels.values())))
    size, channels = data.table.images.shape[2:]
    return ViewFacts(name, size, channels, data.classes, mean, std, counts, writer.digest)


def _write_split(writer: Writer, split: str, data: Divided, extra: list[Iterator[np.ndarray]]) -> np.ndarray:
    """One split's images, columns and texts; returns how often each grey level occurs."""
    table = data.table
    rows = np.tile(data.splits[split], 1 + len(extra))
    originals = original_chunks(table.images, data.splits[split])
    levels = writer.images(split, (len(rows), *table.images.shape[1:]), chain(originals, *extra))
    for column in sorted(table.columns):
        writer.column(split, column, table.columns[column][rows])
    if table.texts is not None:
        writer.texts(split, [table.texts[row] for row in rows])
    return levels


def _write_contact(
    folder: Path, facts: ViewFacts, data: Divided, augmenter: Augmenter | None, seed: int, *, corrupted: bool
) -> None:
    labels, rows = data.table.columns[data.primary], data.splits[next(iter(facts.counts))]
    shown = rows[pick(labels[rows], augmenter is not None)]
    sheet = contact_sheet(facts, data.table.images[shown], labels[shown], augmenter, seed, corrupted=corrupted)
    write_atomically(folder / "contact.png", sheet)


def _write_json(path: Path, value: Any) -> None:
    write_atomically(path, (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())
