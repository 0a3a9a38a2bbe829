"""Paint a scene: characters in their colours on light paper, and the box around the ink of each."""

from __future__ import annotations

import numpy as np

from components.stages.fetch.glyphs.drawing import Pose, draw, draw_pose
from components.stages.fetch.scenes.scene import CELL, SIZES, Scene, Thing

COLOURS = {
    "red": (214, 39, 40),
    "green": (44, 150, 60),
    "blue": (40, 80, 210),
    "yellow": (226, 190, 20),
    "orange": (250, 130, 20),
    "purple": (130, 60, 170),
    "pink": (240, 120, 185),
    "brown": (120, 75, 40),
    "cyan": (30, 185, 200),
    "grey": (135, 135, 135),
    "black": (25, 25, 25),
}
PAPER = 250  # grey level
INK = 20  # jitter 1: a channel of the ink differs by at most this
SHADE = 25  # jitter 1: the paper is darker by at most this
VISIBLE = 0.25  # least coverage of a pixel that counts as ink of the box


def paint(scene: Scene, font: str, side: int, jitter: float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the page uint8 [side, side, 3] and the boxes float64 [objects, 4], (cx, cy, w, h) relative to it.

    All numbers are drawn whatever the jitter, which scales them.
    """
    page = np.full((side, side, 3), PAPER - generator.uniform(0, SHADE) * jitter)
    boxes = []
    for thing in scene.objects:
        pose = draw_pose(generator, jitter)
        shift, colour = generator.uniform(-1, 1, size=2) * jitter, generator.uniform(-INK, INK, size=3) * jitter
        cover = _cover(thing, font, side, pose)
        shift = shift if len(scene.objects) > 1 else 0 * shift  # a single one is anywhere already, and its caption says where
        left, top = _corner(thing, cover.shape[0], side, shift)
        part = page[top : top + len(cover), left : left + len(cover)]
        part += cover[..., None] * (np.clip(np.array(COLOURS[thing.colour]) + colour, 0, 255) - part)
        boxes.append(_box(cover, left, top, side))
    return np.rint(page).astype(np.uint8), np.array(boxes)


def _cover(thing: Thing, font: str, side: int, pose: Pose) -> np.ndarray:
    """Return the share of each pixel that is ink, float64 [s, s], s the object's size in pixels."""
    upright = Pose(rotation=pose.rotation, scale=pose.scale, stroke=pose.stroke)  # place and ink are those of the page
    pixels: np.ndarray = draw(font, thing.character, round(SIZES[thing.extent] * side), upright)
    return pixels / 255.0


def _corner(thing: Thing, size: int, side: int, shift: np.ndarray) -> tuple[int, int]:
    """Return (left, top) of the object in its cell; ``shift`` [2], in -1..1: of half the room that its size leaves."""
    room = max(0.0, CELL * side - size) / 4
    left, top = (round(centre * side + room * move - size / 2) for centre, move in zip(thing.centre, shift, strict=True))
    return min(max(left, 0), side - size), min(max(top, 0), side - size)


def _box(cover: np.ndarray, left: int, top: int, side: int) -> tuple[float, float, float, float]:
    """Return (cx, cy, w, h) of the ink."""
    rows, columns = (np.flatnonzero((cover >= VISIBLE).any(axis=axis)) for axis in (1, 0))
    x, y = left + columns[0], top + rows[0]
    width, height = columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1
    return (x + width / 2) / side, (y + height / 2) / side, width / side, height / side
