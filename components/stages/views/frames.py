"""Arrays of images with their masks and boxes: the centre crop of an evaluation, and padding of boxes to equal numbers."""

from __future__ import annotations

import numpy as np

from components.serving.placement import centre

Arrays = dict[str, np.ndarray]  # batch keys -> arrays


def centre_crop(arrays: Arrays, size: tuple[int, int], limits: dict[str, float] | None) -> Arrays:
    """Crop ``image`` uint8 [n, H, W, C] with its mask and boxes to the centre of (height, width) ``size``.

    ``limits``: ``min_area`` and ``min_visibility`` of boxes, for data with boxes.
    """
    stored = arrays["image"].shape[1:3]
    if stored == size:
        return arrays
    placement = centre(stored, size)
    left, upper, right, lower = placement.part
    cut: Arrays = {name: arrays[name][:, upper:lower, left:right] for name in ("image", "image_mask") if name in arrays}
    if "boxes" not in arrays:
        return cut
    boxes = []
    for here, labels, mask in zip(arrays["boxes"], arrays["box_label"], arrays["box_mask"], strict=True):
        moved, rows = placement.boxes(here[mask], **(limits or {}))
        boxes.append((moved, labels[mask][rows]))
    return cut | padded(boxes, arrays["boxes"].shape[1])


def padded(boxes: list[tuple[np.ndarray, np.ndarray]], most: int | None = None) -> Arrays:
    """Pad (boxes [b, 4], labels [b]) per image to ``boxes``, ``box_label`` and ``box_mask`` of the largest b, at least 1.

    ``most``: pad to this instead.
    """
    most = max([1, *(len(labels) for _, labels in boxes)]) if most is None else most
    arrays: Arrays = {
        "boxes": np.zeros((len(boxes), most, 4), np.float32),
        "box_label": np.zeros((len(boxes), most), np.int64),
        "box_mask": np.zeros((len(boxes), most), np.bool_),
    }
    for row, (here, labels) in enumerate(boxes):
        for name, value in (("boxes", here), ("box_label", labels), ("box_mask", True)):
            arrays[name][row, : len(labels)] = value
    return arrays
