"""The rules of ``new``: settings of a view and a run from the number, size and colour of the pictures. ``table`` comes first.

Weights start from scratch, since nothing is downloaded. ``docs/new.md`` has the same table with its reasons; a test compares.
"""

from __future__ import annotations

from typing import Any

from flows.new.box_rules import choose_boxes
from flows.new.caption_rules import choose_captions
from flows.new.look import Pictures
from flows.new.table import TABLE, Choice, Row, batch_size, steps_of, threads_of
from flows.new.view_rules import VALIDATION, choose_view, image_size, split_shares

UNBALANCED = 5  # largest class / smallest, from which batches are balanced
MIN_VALIDATION = 50  # pictures that a detector's threshold needs
KNN_PICTURES = 20_000  # whose features a k-nearest-neighbour detector may carry: 5 KB a picture
SMALL_SIDE = 40  # pixels: below, the network has no room to shrink
LEARNING_RATE, BATCH = 2e-3, 64  # AdamW; by the square root of the batch size

LEAST_BATCH = 8
STEPS = (500, 60_000)


def choose(pictures: Pictures, threads: int | None = None) -> Choice:
    """Apply the table. ``threads``: CPU threads of a training; default: by the size of the pictures."""
    number = training_pictures(pictures)
    if pictures.boxes is not None and pictures.classes is None:
        return choose_boxes(pictures, number, threads)
    row = next(row for row in TABLE if number <= row.pictures)
    if pictures.captions and pictures.classes is None:
        return choose_captions(pictures, row, number, threads)
    size = image_size(row, pictures.short_side)
    view, reasons = choose_view(pictures, row, size, number)
    if pictures.classes is None:
        reasons.append("no run: these pictures have no class each, for a classifier")
        return Choice(view, None, None, tuple(reasons))
    run, more = choose_run(pictures, row, size, number, threads or threads_of(row is TABLE[0]))
    detect, why = choose_detector(pictures, number)
    return Choice(view, run, detect, (*reasons, *more, why))


def training_pictures(pictures: Pictures) -> int:
    """Estimate the number of training pictures: what is left after the splits that are divided off."""
    share = 1 - sum(split_shares(pictures).values())
    published = sum(split in pictures.splits for split in ("validation", "test"))
    return max(1, int(pictures.number * share * (1 - 0.15 * published)))


def choose_run(pictures: Pictures, row: Row, size: int, number: int, threads: int) -> tuple[dict[str, Any], list[str]]:
    """Return the run's block, without its view, and the reasons."""
    batch = batch_size(number, LEAST_BATCH, row.batch_size)
    steps = steps_of(row.epochs, number, batch, STEPS)
    model, why = choose_network(row, size)
    rate = float(f"{LEARNING_RATE * (batch / BATCH) ** 0.5:.1g}")
    train: dict[str, Any] = {"seed": 0, "threads": threads, "precision": "auto", "steps": steps, "warmup": steps // 20}
    train |= {"batch_size": batch, "optimizer": "adamw", "learning_rate": rate, "weight_decay": 0.05}
    train |= {"label_smoothing": 0.1, "clip_norm": 1.0, "ema_decay": round(1 - 5 / steps, 4), "batch_norm": "reestimated"}
    reasons = [why, f"{steps:,} steps of {batch}: about {steps * batch / number:.0f} times through the pictures"]
    assert pictures.classes
    sizes = sorted(pictures.classes.values())
    if sizes[-1] > UNBALANCED * sizes[0]:
        train["sampler"] = "balanced"
        reasons.append(f"sampler balanced: classes have {sizes[0]} to {sizes[-1]:,} pictures")
    guess = sizes[-1] / sum(sizes)
    floor = round(guess + (1 - guess) / 3, 2)
    reasons.append(
        f"promote.floor {floor:g}: a third of the way from always naming the largest class; raise it to what you need"
    )
    blocks = {"export": {}, "evaluate": {}, "promote": {"metric": "accuracy", "floor": floor}}
    return {"recipe": "classification", "model": model, "train": train, **blocks}, reasons


def choose_network(row: Row, size: int) -> tuple[dict[str, Any], str]:
    """Return the ``model`` block and the reason: a network that runs on a CPU, shrunk to the picture's size."""
    if size < SMALL_SIDE:
        return {"name": "resnet18", "width": 32}, "resnet18, width 32: made for pictures of 32 pixels"
    strides = [2, 2, 2, 2, 2] if size >= 112 else [1, 2, 2, 2, 2]
    model = {"name": "pp_lcnet", "scale": row.scale, "strides": strides}
    return model, f"pp_lcnet, scale {row.scale:g}: light enough for a CPU; strides for {size} pixels"


def choose_detector(pictures: Pictures, number: int) -> tuple[dict[str, Any] | None, str]:
    """Return the ``detect`` block, without its run and view, or None, and the reason."""
    validation = int(pictures.number * VALIDATION)
    if validation < MIN_VALIDATION:
        few = f"about {validation} validation pictures, {MIN_VALIDATION} are needed for a threshold"
        return None, f"no out-of-distribution score: {few}"
    name = "knn" if number <= KNN_PICTURES else "relative_mahalanobis"
    return {
        "serve": name,
        "detectors": [name],
    }, f"out-of-distribution score {name}: predictions say what is unlike the pictures here"
