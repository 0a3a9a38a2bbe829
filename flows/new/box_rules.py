"""The rules of pictures with boxes: a view that keeps them whole, and a detector of the family ``detr`` from scratch.

``BOX_TABLE`` comes first; ``docs/new.md`` has the same table with its reasons, and a test compares.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from flows.new.look import MIN_A_CLASS, Pictures
from flows.new.table import Choice, steps_of, threads_of
from flows.new.view_rules import split_shares

TYPICAL, SMALLEST = 28, 10  # pixels in the view of the median object, and of the one that a tenth are smaller than
LEAST, MOST = 96, 320  # pixels: the square root of the view's area
STRIDE = 16  # pixels of a token of the three stages
MIN_QUERIES, SPARE = 10, 1.25  # queries; queries per object of the fullest picture
DETECTIONS = (100, 1000)  # boxes of an answer, least and most
STEPS, BATCH = (6000, 60_000), 8
NAMED_CLASSES = 8  # with few boxes, that are named
FLOOR = 0.3  # AP50: what a detector that has learnt something reaches


@dataclass(frozen=True)
class BoxRow:
    """A row of the table: the largest number of training pictures, and the detector up to it."""

    pictures: float
    width: int
    hidden_dim: int
    encoder_layers: int
    decoder_layers: int
    ffn_dim: int
    epochs: int


BOX_TABLE = (
    BoxRow(2_000, width=32, hidden_dim=96, encoder_layers=2, decoder_layers=3, ffn_dim=256, epochs=130),
    BoxRow(float("inf"), width=64, hidden_dim=128, encoder_layers=3, decoder_layers=4, ffn_dim=512, epochs=65),
)


def choose_boxes(pictures: Pictures, number: int, threads: int | None) -> Choice:
    """Apply the table to ``number`` training pictures. No detector of strange pictures: the best score of a picture is one."""
    row = next(row for row in BOX_TABLE if number <= row.pictures)
    size = box_image_size(pictures)
    view, reasons = boxes_view(pictures, size)
    run, more = boxes_run(pictures, row, size, number, threads or threads_of(row is BOX_TABLE[0]))
    notes = [f"invalid_boxes clip: {note}" for note in pictures.notes]
    return Choice(view, run, None, (*notes, *reasons, *more))


def box_image_size(pictures: Pictures) -> tuple[int, int]:
    """Return (height, width): of the pictures' usual shape, objects at least as large as above, no larger than the pictures."""
    tenth, _, middle, _ = pictures.box_sides
    side = min(MOST, max(LEAST, TYPICAL / middle, SMALLEST / tenth))
    height, width = side / math.sqrt(pictures.wide), side * math.sqrt(pictures.wide)
    enlarged = pictures.short_side / min(height, width)  # of what the pictures have
    low, high = (multiple(min(length, enlarged * length), enlarged * length) for length in (height, width))
    return low, high


def multiple(length: float, limit: float) -> int:
    """Return the multiple of the stride nearest to ``length``, not above ``limit``, at least two."""
    return max(2, min(round(length / STRIDE), int(limit / STRIDE + 1e-6))) * STRIDE


def boxes_view(pictures: Pictures, size: tuple[int, int]) -> tuple[dict[str, Any], list[str]]:
    """Return the block of a view of whole pictures, without its dataset, and the reasons."""
    objects = round(pictures.box_sides[2] * math.sqrt(size[0] * size[1]))
    view: dict[str, Any] = {"image_size": size[0] if size[0] == size[1] else list(size)}
    view |= {"channels": 1 if pictures.grey else 3, "fit": "pad"}
    reasons = [f"image_size {size[0]} x {size[1]}, fit pad: no box is cut off, the median object has {objects} pixels a side"]
    if shares := split_shares(pictures):
        view["split"] = {"by": "image", **shares}
    view["boxes"] = {"min_area": 9, "min_visibility": 0.3}
    move = {"scale": [0.8, 1.25], "translate_percent": [-0.1, 0.1], "p": 0.7}
    bright = {"brightness_limit": 0.15, "contrast_limit": 0.15, "p": 0.5}
    view["augment"] = [{"HorizontalFlip": {"p": 0.5}}, {"Affine": move}, {"RandomBrightnessContrast": bright}]
    return view, reasons


def boxes_run(
    pictures: Pictures, row: BoxRow, size: tuple[int, int], number: int, threads: int
) -> tuple[dict[str, Any], list[str]]:
    """Return the run's block, without its view, and the reasons."""
    queries = num_queries(pictures.most_boxes)
    steps = steps_of(row.epochs, number, BATCH, STEPS)
    model: dict[str, Any] = {"name": "detr", "decoder": "conditional", "denoising": False, "num_queries": queries}
    model |= {"backbone": 18, "norm": "group", "width": row.width, "stages": 3, "hidden_dim": row.hidden_dim, "num_heads": 4}
    model |= {name: getattr(row, name) for name in ("encoder_layers", "decoder_layers", "ffn_dim")} | {"dropout": 0.0}
    train: dict[str, Any] = {"seed": 0, "threads": threads, "precision": "auto", "steps": steps, "warmup": 100}
    train |= {"batch_size": BATCH, "learning_rate": 4e-4, "backbone_learning_rate": 4e-4, "ema_decay": 0.998}
    train |= {"ema_ramp_up": True, "standardise": "view"}
    small, large = sizes_of(pictures, size)
    blocks: dict[str, Any] = {"export": {"detections": min(DETECTIONS[1], max(DETECTIONS[0], queries))}}
    blocks |= {"evaluate": {"threshold": 0.4, "small": small, "large": large}, "promote": {"metric": "ap50", "floor": FLOOR}}
    reasons = [
        f"detr, conditional queries, a ResNet-18 of width {row.width} from scratch: {number:,} training pictures",
        f"num_queries {queries}: the fullest picture has {pictures.most_boxes} objects",
        f"{steps:,} steps of {BATCH}: about {steps * BATCH / number:.0f} times through the pictures",
        f"small {small}, large {large}: pixels of the view, a quarter of the objects below and above",
        f"promote.floor {FLOOR:g}: AP50 of a detector that has learnt something; raise it to what you need",
    ]
    return {"recipe": "detr", "model": model, "train": train, **blocks}, reasons + rare(pictures.boxes or {})


def num_queries(most_boxes: int) -> int:
    """Return the queries for pictures of up to ``most_boxes`` objects: a quarter more, in tens."""
    return max(MIN_QUERIES, math.ceil(SPARE * most_boxes / 10) * 10)


def sizes_of(pictures: Pictures, size: tuple[int, int]) -> tuple[int, int]:
    """Return (small, large), the sides in the view's pixels below and above which a quarter of the objects lie."""
    scale = math.sqrt(size[0] * size[1])
    small = max(1, round(pictures.box_sides[1] * scale))
    return small, max(small + 1, round(pictures.box_sides[3] * scale))


def rare(boxes: dict[str, int]) -> list[str]:
    """Return a line on the classes of which too few boxes are there to learn and to measure them."""
    few = [f"{name} {count}" for name, count in boxes.items() if count < MIN_A_CLASS]
    listed = ", ".join(few[:NAMED_CLASSES]) + (f" and {len(few) - NAMED_CLASSES} more" if len(few) > NAMED_CLASSES else "")
    return [f"hardly to be found, with fewer than {MIN_A_CLASS} boxes: {listed}"] if few else []
