"""The rules of a view: size, channels, fit, splits, augmentation."""

from __future__ import annotations

from typing import Any

from flows.new.look import Pictures
from flows.new.table import Row

VALIDATION, TEST = 0.1, 0.2  # shares that are divided off
LONG = 2.0  # long / short side from which the picture is padded instead of cropped
CROPPED_SIDE = 64  # pixels from which larger pictures are stored, of which the training draws crops


def split_shares(pictures: Pictures) -> dict[str, float]:
    """Return the splits to divide off: those that the folder does not have."""
    return {split: share for split, share in (("validation", VALIDATION), ("test", TEST)) if split not in pictures.splits}


def image_size(row: Row, short_side: int) -> int:
    """Return the row's size, but never larger than the pictures: the multiple of 16 below their short side, at least 16."""
    return min(row.image_size, max(16, short_side // 16 * 16))


def choose_view(pictures: Pictures, row: Row, size: int, number: int) -> tuple[dict[str, Any], list[str]]:
    """Return the view's block, without its dataset, and the reasons."""
    channels, padded = (1 if pictures.grey else 3), pictures.aspect > LONG
    view: dict[str, Any] = {"image_size": size, "channels": channels}
    reasons = [_size_reason(pictures, row, size, number)]
    augment = policy(row, channels, padded)
    if "RandomResizedCrop" in augment[0] and size >= CROPPED_SIDE:
        view["stored_size"] = -(-size * 8 // 7 // 8) * 8  # 256 for 224
    if padded:
        view["fit"] = "pad"
        reasons.append(f"fit pad: sides are {pictures.aspect:g} to 1, so that a centred square would cut off most of a picture")
    if shares := split_shares(pictures):
        view["split"] = {"by": "image", **shares}
        kept = f"; {', '.join(pictures.splits)} as published" if pictures.splits else ""
        reasons.append("split: " + ", ".join(f"{share:.0%} {name}" for name, share in shares.items()) + kept)
    view["augment"] = augment
    mirror = "" if channels == 3 else ", not mirrored: a mirrored letter or scan is another"
    reasons.append(f"augmentation {row.augment}{mirror}: {number:,} pictures to train on")
    if channels == 1:
        reasons.append("channels 1: every picture is grey")
    return view, reasons


def _size_reason(pictures: Pictures, row: Row, size: int, number: int) -> str:
    limit = f", and they are {pictures.short_side} pixels wide" if size < row.image_size else ""
    return f"image_size {size}: about {number:,} pictures to train on, without pretrained weights{limit}"


def policy(row: Row, channels: int, padded: bool) -> list[dict[str, Any]]:
    """Return the augmentation policy, drawn anew for every training image."""
    if channels == 1:  # scans and drawings fill their frame: no crop
        move = {"translate_percent": [-0.08, 0.08], "rotate": [-8, 8], "scale": [0.9, 1.1], "border_mode": 4, "p": 1.0}
        return [{"Affine": move}, {"RandomBrightnessContrast": {"p": 0.5}}]
    strong = row.augment == "strong"
    crop = [] if padded else [{"RandomResizedCrop": {"scale": [0.4 if strong else 0.25, 1.0], "p": 1.0}}]
    colour = {"brightness": [0.7, 1.3], "contrast": [0.7, 1.3], "saturation": [0.7, 1.3], "hue": [-0.03, 0.03], "p": 0.8}
    turn = [{"Affine": {"rotate": [-15, 15], "border_mode": 4, "p": 0.5}}] if strong else []
    return [*crop, {"HorizontalFlip": {"p": 0.5}}, *turn, {"ColorJitter": colour}]
