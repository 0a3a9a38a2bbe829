"""Pages of pictures: the surest and the least sure predictions; samples; pictures and their translations."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from components.registry.predict.classify import Prediction

EACH = 25  # pictures of each half
COLUMNS, TILE, GAP, MARGIN, LINE = 5, 128, 10, 20, 15  # pixels, but for the columns
PAPER, INK, FAINT, RED = (250, 250, 248), (30, 30, 30), (110, 110, 110), (190, 30, 30)


@dataclass(frozen=True)
class Tile:
    """A picture, uint8 [H, W, C], with at most two lines below it; ``red``: the first is red."""

    pixels: np.ndarray
    lines: tuple[str, ...] = ()
    red: bool = False


@dataclass
class Extremes:
    """The ``EACH`` surest and least sure of any ``number`` of predictions, as tiles."""

    number: int = 0
    surest: list[tuple[float, int, Tile]] = field(default_factory=list)
    unsure: list[tuple[float, int, Tile]] = field(default_factory=list)

    def add(self, predictions: Sequence[Prediction], pixels: np.ndarray) -> None:
        """Take in a batch, pixels uint8 [n, H, W, C]."""
        for prediction, picture in zip(predictions, pixels, strict=True):
            self.number += 1
            # Of equals the surest are the first and the least sure the last: one order, from both ends.
            for heap, sign in ((self.surest, 1), (self.unsure, -1)):
                rank = (sign * prediction.probability, -sign * self.number)
                if len(heap) < EACH or rank > heap[0][:2]:
                    _push(heap, (*rank, _tile(prediction, picture)))

    def blocks(self) -> list[tuple[str, list[Tile]]]:
        """Return the two halves of the page; no picture stands in both."""
        surest, unsure = (sorted(heap, reverse=True) for heap in (self.surest, self.unsure))
        half = min(EACH, (self.number + 1) // 2)
        return [
            ("the surest", [tile for *_, tile in surest[:half]]),
            ("the least sure", [tile for *_, tile in unsure[: self.number - half]]),
        ]


def _push(heap: list[tuple[float, int, Tile]], entry: tuple[float, int, Tile]) -> None:
    heapq.heappush(heap, entry) if len(heap) < EACH else heapq.heapreplace(heap, entry)


def _tile(prediction: Prediction, pixels: np.ndarray) -> Tile:
    strange = prediction.is_ood is True
    first = f"{prediction.label} {prediction.probability:.0%}" + (", out of distribution" if strange else "")
    return Tile(np.asarray(_fitted(pixels)), (first, Path(prediction.file).name), strange)


def draw_page(path: Path, title: str, blocks: Sequence[tuple[str, Sequence[Tile]]]) -> None:
    """Draw the blocks below each other, each a heading and its tiles, and write a PNG. Empty blocks are left out."""
    blocks = [(heading, tiles) for heading, tiles in blocks if tiles]
    pitch = TILE + 2 * LINE + GAP
    heights = [2 * LINE + -(-len(tiles) // COLUMNS) * pitch for _, tiles in blocks]
    width = 2 * MARGIN + COLUMNS * (TILE + GAP) - GAP
    page = Image.new("RGB", (width, 2 * MARGIN + 2 * LINE + sum(heights)), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((MARGIN, MARGIN), _shortened(title, width - 2 * MARGIN, font(16)), INK, font(16))
    top = MARGIN + 2 * LINE
    for (heading, tiles), height in zip(blocks, heights, strict=True):
        draw.text((MARGIN, top), heading, FAINT, font(13))
        for index, tile in enumerate(tiles):
            row, column = divmod(index, COLUMNS)
            _draw_tile(page, draw, tile, MARGIN + column * (TILE + GAP), top + 2 * LINE + row * pitch - LINE // 2)
        top += height
    page.save(path, "PNG")


def _draw_tile(page: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, left: int, top: int) -> None:
    picture = _fitted(tile.pixels)
    page.paste(picture, (left + (TILE - picture.width) // 2, top + (TILE - picture.height) // 2))
    for index, text in enumerate(tile.lines):
        colour = (RED if tile.red else INK) if index == 0 else FAINT
        draw.text((left, top + TILE + 1 + index * LINE), _shortened(text, TILE, font(11)), colour, font(11))


def _fitted(pixels: np.ndarray) -> Image.Image:
    """Resize uint8 [H, W, C] so that the longer side is ``TILE``; small ones without interpolation."""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).convert("RGB")
    scale = TILE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return matplotlib's DejaVu Sans, which has more letters than PIL's own font."""
    place = find_spec("matplotlib")
    folders = list(place.submodule_search_locations or ()) if place else []
    file = Path(folders[0], "mpl-data/fonts/ttf/DejaVuSans.ttf") if folders else Path()
    return ImageFont.truetype(str(file), size) if file.is_file() else ImageFont.load_default(size)


def _shortened(text: str, width: int, face: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Cut the text in its middle, so that it is at most ``width`` pixels wide, and escape what is not printable."""
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    keep = len(text)
    short = text
    while keep > 4 and face.getlength(short) > width:
        keep -= 1
        short = f"{text[: keep - keep // 2]}…{text[len(text) - keep // 2 :]}"
    return short
