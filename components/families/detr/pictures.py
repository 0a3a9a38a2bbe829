"""Pictures of the report: detections beside the truth, what the encoder and the decoder look at, where each query looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from components.metrics.detections.boxes import Detections, Truth

TILE, GAP, LINE = 240, 8, 15  # pixels of a tile's longer side, between tiles, of a line of text
COLOURS = ((220, 50, 47), (38, 139, 210), (133, 153, 0), (211, 54, 130), (203, 75, 22), (42, 161, 152))
PAPER, INK = (250, 250, 248), (30, 30, 30)
POINTS = ((0.25, 0.25), (0.75, 0.25), (0.5, 0.5), (0.25, 0.75), (0.75, 0.75))  # (x, y) whose encoder attention is shown
QUERIES = 20  # at most, of which each has a tile


def detections_page(
    images: np.ndarray, found: Sequence[Detections], truth: Sequence[Truth], names: Sequence[str]
) -> np.ndarray:
    """uint8 [n, H, W, C] -> a page: per picture the true boxes at the left, the detections with their scores at the right."""
    tiles = []
    for image, one, true in zip(images, found, truth, strict=True):
        texts = [names[label] for label in true.labels]
        tiles.append(boxed(image, true.boxes, true.labels, texts, "truth"))
        texts = [f"{names[label]} {score:.2f}" for label, score in zip(one.labels, one.scores, strict=True)]
        tiles.append(boxed(image, one.boxes, one.labels, texts, "detections"))
    return page(tiles, columns=4)


def encoder_page(images: np.ndarray, attention: np.ndarray, levels: int) -> np.ndarray:
    """Encoder self-attention [n, S, S] of a few points: the points as red dots, then where each looks.

    The paper's Figure 3: the encoder separates objects from each other before the decoder names them.
    """
    tiles = []
    for image, weights in zip(images, attention, strict=True):
        maps = map_shapes(image.shape[:2], weights.shape[-1], levels)
        height, width = maps[-1]
        first = weights.shape[-1] - height * width
        places = [(min(height - 1, int(y * height)), min(width - 1, int(x * width))) for x, y in POINTS]
        tiles.append(dotted(image, [((x + 0.5) / width, (y + 0.5) / height) for y, x in places], "points"))
        for (row, column), point in zip(places, POINTS, strict=True):
            own = weights[first + row * width + column, first:].reshape(height, width)
            tile = dotted(
                heated(image, own), [((column + 0.5) / width, (row + 0.5) / height)], f"from ({point[0]}, {point[1]})"
            )
            tiles.append(tile)
    return page(tiles, columns=1 + len(POINTS))


@dataclass(frozen=True)
class Looks:
    """The best detections of one picture, and where their queries look: ``attention`` [n, S]."""

    found: Detections
    attention: np.ndarray


def decoder_page(images: np.ndarray, looks: Sequence[Looks], names: Sequence[str], levels: int) -> np.ndarray:
    """Decoder attention of the best boxes of each picture: over the picture, with its box.

    The paper's Figure 6: a query looks at the extremities of its object.
    """
    tiles, most = [], 5
    for image, look in zip(images, looks, strict=True):
        one, weights = look.found, look.attention
        height, width = map_shapes(image.shape[:2], weights.shape[-1], levels)[-1]
        for index in range(most):
            if index >= len(one.boxes):
                tiles.append(blank(image.shape[:2]))
                continue
            own = weights[index, weights.shape[-1] - height * width :].reshape(height, width)
            text = [f"{names[one.labels[index]]} {one.scores[index]:.2f}"]
            tiles.append(boxed(heated(image, own), one.boxes[index : index + 1], one.labels[index : index + 1], text, ""))
    return page(tiles, columns=most)


def queries_page(boxes: np.ndarray, confident: np.ndarray) -> np.ndarray:
    """Where each query looks: boxes [N, Q, 4] (cx, cy, w, h) relative -> a tile a query, a dot at the centre of each box.

    The paper's Figure 7: small boxes green, wide ones blue, tall ones red; boxes that are no detection (``confident`` [N, Q]
    false) are light.
    """
    tiles = []
    for query in range(min(QUERIES, boxes.shape[1])):
        tile = Image.new("RGB", (TILE // 2, TILE // 2), (255, 255, 255))
        draw = ImageDraw.Draw(tile)
        for (x, y, w, h), sure in sorted(
            zip(boxes[:, query].tolist(), confident[:, query].tolist(), strict=True), key=lambda one: one[1]
        ):
            colour = (0, 140, 60) if max(w, h) < 0.25 else ((40, 80, 220) if w >= h else (220, 50, 47))
            shade = colour if sure else tuple(255 - (255 - part) // 5 for part in colour)
            centre = (x * tile.width, y * tile.height)
            draw.ellipse([centre[0] - 2, centre[1] - 2, centre[0] + 2, centre[1] + 2], fill=shade)
        tiles.append(titled(tile, f"query {query}"))
    return page(tiles, columns=5)


def map_shapes(size: tuple[int, int], tokens: int, levels: int) -> list[tuple[int, int]]:
    """(height, width) of the maps of ``levels`` stages that give ``tokens`` together, the coarsest last."""
    for stages in (4, 3, 2):
        strides = [2 ** (stages + 1 - finer) for finer in range(levels)][::-1]
        shapes = [tuple(-(-side // stride) for side in size) for stride in strides]
        if sum(height * width for height, width in shapes) == tokens:
            return [(height, width) for height, width in shapes]
    raise ValueError(f"{tokens} tokens are not those of {levels} maps of an image of {size[0]} x {size[1]} pixels")


def boxed(image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, texts: Sequence[str], title: str) -> Image.Image:
    """The picture, enlarged, with boxes [n, 4] (corners in its pixels) in the colour of their class, and a text at each."""
    tile, scale = enlarged(image)
    draw = ImageDraw.Draw(tile)
    for box, label, text in zip(boxes * scale, labels.tolist(), texts, strict=True):
        colour = COLOURS[label % len(COLOURS)]
        draw.rectangle([float(side) for side in box], outline=colour, width=2)
        draw.text((float(box[0]) + 3, float(box[1]) + 1), text, colour, font(), stroke_width=1, stroke_fill=(255, 255, 255))
    return titled(tile, title)


def dotted(image: np.ndarray, points: Sequence[tuple[float, float]], title: str) -> Image.Image:
    """The picture, enlarged, with red dots at relative (x, y)."""
    tile, _ = enlarged(image)
    draw = ImageDraw.Draw(tile)
    for x, y in points:
        centre = (x * tile.width, y * tile.height)
        draw.ellipse([centre[0] - 4, centre[1] - 4, centre[0] + 4, centre[1] + 4], fill=(220, 50, 47), outline=(255, 255, 255))
    return titled(tile, title)


def heated(image: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The picture in grey under attention [h, w], scaled to its largest value: dark blue is none, yellow most."""
    height, width = image.shape[:2]
    share = weights / max(float(weights.max()), 1e-12)
    levels = Image.fromarray((255 * share).round().astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    heat = np.asarray(levels, np.float64)[:, :, None] / 255
    colour = np.array([20.0, 20.0, 90.0]) * (1 - heat) + np.array([255.0, 230.0, 40.0]) * heat
    grey = image.astype(np.float64).mean(2, keepdims=True)
    mixed: np.ndarray = (0.45 * grey + 0.55 * colour).round().clip(0, 255).astype(np.uint8)
    return mixed


def enlarged(image: np.ndarray) -> tuple[Image.Image, float]:
    """The picture with its longer side at ``TILE`` pixels, and the factor."""
    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).convert("RGB")
    scale = TILE / max(picture.size)
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC), scale


def blank(size: tuple[int, int]) -> Image.Image:
    """An empty tile for a picture of (height, width)."""
    scale = TILE / max(size)
    return titled(Image.new("RGB", (round(size[1] * scale), round(size[0] * scale)), PAPER), "")


def titled(tile: Image.Image, title: str) -> Image.Image:
    """The tile with a line of text above it."""
    paper = Image.new("RGB", (tile.width, tile.height + LINE), PAPER)
    paper.paste(tile, (0, LINE))
    ImageDraw.Draw(paper).text((1, 0), title, INK, font())
    return paper


def page(tiles: Sequence[Image.Image], columns: int) -> np.ndarray:
    """Tiles of one size, row by row: uint8 [H, W, 3]."""
    width, height = (max(sides) + GAP for sides in zip(*(tile.size for tile in tiles), strict=True))
    rows = -(-len(tiles) // columns)
    paper = Image.new("RGB", (min(columns, len(tiles)) * width + GAP, rows * height + GAP), PAPER)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        paper.paste(tile, (GAP + column * width, GAP + row * height))
    return np.asarray(paper)


@cache
def font() -> Any:
    """matplotlib's DejaVu Sans, the same on every machine, which has more letters than PIL's own font."""
    place = find_spec("matplotlib")
    folders = list(place.submodule_search_locations or ()) if place else []
    file = Path(folders[0], "mpl-data/fonts/ttf/DejaVuSans.ttf") if folders else Path()
    return ImageFont.truetype(str(file), 11) if file.is_file() else ImageFont.load_default(11)
