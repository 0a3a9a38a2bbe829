"""The rules of pictures with captions alone: a view whose tokeniser is learnt from them, and a CLIP from scratch.

``CAPTION_TABLE`` comes first; ``docs/new.md`` has the same table with its reasons, and a test compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flows.new.look import Pictures
from flows.new.table import Choice, Row, batch_size, steps_of, threads_of
from flows.new.view_rules import TEST, choose_view, image_size

TEXT = {"tokeniser": "bpe", "vocabulary": 4096, "context_length": 32, "truncate": True}
PATCHES = 8  # along a side
LEAST_BATCH, MOST_BATCH = 16, 128
STEPS = (500, 60_000)
RECALLED, TIMES_CHANCE = 10, 3


@dataclass(frozen=True)
class CaptionRow:
    """A row of the table: the largest number of training pictures, the widths and blocks of both towers, and the training."""

    pictures: float
    width: int
    image_depth: int
    text_depth: int
    heads: int
    epochs: int


CAPTION_TABLE = (
    CaptionRow(10_000, width=128, image_depth=4, text_depth=2, heads=2, epochs=100),
    CaptionRow(float("inf"), width=256, image_depth=6, text_depth=4, heads=4, epochs=30),
)


def choose_captions(pictures: Pictures, row: Row, number: int, threads: int | None) -> Choice:
    """Apply the table to ``number`` training pictures; ``row``: of the pictures' size and augmentation."""
    towers = next(entry for entry in CAPTION_TABLE if number <= entry.pictures)
    size = image_size(row, pictures.short_side)
    view, reasons = choose_view(pictures, row, size, number)
    mirrored = {"HorizontalFlip": {"p": 0.5}}
    if mirrored in view["augment"]:
        view["augment"].remove(mirrored)
        reasons.append("not mirrored: a caption may say left or right")
    view["text"] = dict(TEXT)
    cut = f"longer captions than {TEXT['context_length']} tokens are cut, and counted"
    reasons.append(f"tokeniser bpe, learnt from the captions of the training pictures; {cut}")
    run, more = caption_run(pictures, towers, size, number, threads or threads_of(towers is CAPTION_TABLE[0]))
    return Choice(view, run, None, (*reasons, *more))


def caption_run(pictures: Pictures, row: CaptionRow, size: int, number: int, threads: int) -> tuple[dict[str, Any], list[str]]:
    """Return the run's block, without its view, and the reasons."""
    batch = batch_size(number, LEAST_BATCH, MOST_BATCH)
    steps = steps_of(row.epochs, number, batch, STEPS)
    model: dict[str, Any] = {"name": "clip", "patch": size // PATCHES, "width": row.width, "depth": row.image_depth}
    model |= {"heads": row.heads, "embed_dim": row.width, "text_width": row.width, "text_depth": row.text_depth}
    model |= {"text_heads": row.heads, "dropout": 0.1}
    train: dict[str, Any] = {"seed": 0, "threads": threads, "precision": "auto", "steps": steps, "warmup": steps // 20}
    train |= {"batch_size": batch, "learning_rate": 5e-4, "clip_norm": 1.0}
    floor = recall_floor(pictures.number)
    blocks = {"export": {}, "evaluate": {}, "promote": {"metric": f"text_to_image.recall_at_{RECALLED}", "floor": floor}}
    reasons = [
        f"clip from scratch, {PATCHES} x {PATCHES} patches, width {row.width}: {number:,} pictures to train on",
        f"{steps:,} steps of {batch}: about {steps * batch / number:.0f} times through the pictures",
        f"promote.floor {floor:g}: above the chance to have the right picture among {RECALLED}; raise it to what you need",
    ]
    return {"recipe": "clip", "model": model, "train": train, **blocks}, reasons


def recall_floor(number: int) -> float:
    """Return the floor of recall at ``RECALLED`` among the test pictures of ``number``: above chance, also among a few."""
    chance = min(1.0, RECALLED / max(1, TEST * number))
    return round(min(TIMES_CHANCE * chance, chance + (1 - chance) / 3), 3)
