"""Sheet of captions, each above the pictures that fit it best; a green frame marks the right ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

TILE, GAP, LINE, FRAME = 96, 8, 18, 3  # pixels
PAPER, INK, RIGHT, PLAIN = (250, 250, 248), (30, 30, 30), (40, 150, 60), (200, 200, 196)
LETTERS = 90  # of a caption


def caption_sheet(captions: Sequence[str], pictures: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Draw uint8 [h, w, 3]: ``pictures`` uint8 [R, B, H, W, C], the best B of each caption, framed by ``right`` bool [R, B]."""
    rows, best = right.shape
    width = max(best * (TILE + GAP) + GAP, 560)
    page = Image.new("RGB", (width, rows * (LINE + TILE + 2 * GAP) + GAP), PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for row, caption in enumerate(captions):
        top = GAP + row * (LINE + TILE + 2 * GAP)
        text = caption if len(caption) <= LETTERS else f"{caption[: LETTERS - 1]}…"
        draw.text((GAP, top), text, fill=INK, font=font)
        for place in range(best):
            left, upper = GAP + place * (TILE + GAP), top + LINE
            colour = RIGHT if right[row, place] else PLAIN
            draw.rectangle((left - FRAME, upper - FRAME, left + TILE + FRAME - 1, upper + TILE + FRAME - 1), fill=colour)
            page.paste(_tile(pictures[row, place]), (left, upper))
    return np.asarray(page)


def _tile(pixels: np.ndarray) -> Image.Image:
    """Fit a picture, uint8 [H, W, C], into a square tile on paper."""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).convert("RGB")
    scale = TILE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    resized = image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX)
    tile = Image.new("RGB", (TILE, TILE), PAPER)
    tile.paste(resized, ((TILE - size[0]) // 2, (TILE - size[1]) // 2))
    return tile
