"""Contact sheet (contact.png): some training images next to augmented versions, for visual inspection."""

from __future__ import annotations

import io
import textwrap

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from components.core.batch import ViewFacts
from components.serving.placement import corners_of
from components.stages.views.draws import Augmenter, Draws
from components.stages.views.frames import Arrays, centre_crop

LINES, COLUMNS = 10, 8
TILE, GAP, MARGIN = 96, 6, 20  # pixels
ACROSS = 26  # letters in a line of a caption
BOXES = ("boxes", "box_label", "box_mask")
COLOURS = ((220, 50, 47), (38, 139, 210), (133, 153, 0), (211, 54, 130), (203, 75, 22), (42, 161, 152))
PAPER, INK, FAINT = (250, 250, 248), (30, 30, 30), (120, 120, 120)


def pick(labels: np.ndarray, count: int) -> np.ndarray:
    """Select ``count`` rows in ascending order of class: the classes in turn, or evenly spaced ones if there are more."""
    nth = np.zeros(len(labels), dtype=np.int64)  # which image of its class a row is
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        nth[rows] = np.arange(len(rows))
    order = np.lexsort((labels, nth))
    num_classes = int((nth == 0).sum())
    if num_classes > count:
        order = order[np.linspace(0, num_classes - 1, count).round().astype(np.int64)]
    rows = order[:count]
    return rows[np.argsort(labels[rows], kind="stable")]


def contact_sheet(
    facts: ViewFacts,
    arrays: Arrays,
    beside: list[str] | None,
    augmenter: Augmenter | None,
    seed: int,
    *,
    corrupted: bool,
) -> bytes:
    """Draw ``image`` uint8 [n, H, W, C] with its boxes as PNG: a line per image with its augmented versions, or originals only.

    ``arrays``: images with masks and boxes; ``beside``: the caption at the left of each line, or None.
    """
    original = "corrupted original" if corrupted else "original"
    grey = "grey" if facts.channels == 1 else "RGB"
    counts = ", ".join(f"{split} {count}" for split, count in facts.counts.items())
    title = f"{facts.name}: {facts.height} x {facts.width} {grey}, {counts}"
    size = (facts.height, facts.width)
    if arrays["image"].shape[1:3] != size:
        original = f"centre of the {original}"
    shown = centre_crop(arrays, size, augmenter.limits if augmenter else None)
    tiles = _tiles(shown)
    if augmenter is None:
        across = 1 if beside else COLUMNS
        lines = [tiles[start : start + across] for start in range(0, len(tiles), across)]
        return draw_sheet(title, f"{original}s; nothing is drawn at training", lines, beside or ["" for _ in lines])
    draws = [Draws.make(COLUMNS - 1, seed, "contact", line) for line in range(len(tiles))]
    repeated = [{name: np.stack([array[row]] * (COLUMNS - 1)) for name, array in arrays.items()} for row in range(len(tiles))]
    lines = [[tile, *_tiles(augmenter.move(r, d))] for tile, r, d in zip(tiles, repeated, draws, strict=True)]
    subtitle = f"left: {original}; right: {COLUMNS - 1} draws of the augmentation policy"
    return draw_sheet(title, subtitle, lines, beside or ["" for _ in lines])


def _tiles(arrays: Arrays) -> list[Image.Image]:
    """Resize every image and draw its boxes in the colours of their classes."""
    tiles = [enlarged(image) for image in arrays["image"]]
    if "boxes" in arrays:
        for tile, boxes, labels, mask in zip(tiles, *(arrays[name] for name in BOXES), strict=True):
            draw = ImageDraw.Draw(tile)
            for (left, upper, right, lower), label in zip(corners_of(boxes[mask]), labels[mask], strict=True):
                corners = (left * tile.width, upper * tile.height, right * tile.width - 1, lower * tile.height - 1)
                draw.rectangle([round(float(c)) for c in corners], outline=COLOURS[label % len(COLOURS)])
    return tiles


def draw_sheet(title: str, subtitle: str, lines: list[list[Image.Image]], captions: list[str]) -> bytes:
    """Draw lines of equally large tiles, each with its caption at the left, as PNG."""
    width, height = lines[0][0].size
    font, captions = ImageFont.load_default(15), [_wrapped(caption, max(1, height // 18)) for caption in captions]
    space = max(round(font.getlength(text)) for caption in captions for text in caption.split("\n"))
    left, apart = (MARGIN + space + MARGIN, 3 * GAP) if space else (MARGIN, 0)  # the gap sets the originals apart
    top, pitch, across = MARGIN + 56, (width + GAP, height + GAP), COLUMNS
    size = (left + across * pitch[0] - GAP + apart + MARGIN, top + len(lines) * pitch[1] - GAP + MARGIN)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, ImageFont.load_default(18))
    draw.text((MARGIN, MARGIN + 26), subtitle, FAINT, ImageFont.load_default(13))
    for line, (tiles, caption) in enumerate(zip(lines, captions, strict=True)):
        draw.text((MARGIN, top + line * pitch[1] + height // 2), caption, INK, font, anchor="lm")
        for column, tile in enumerate(tiles):
            sheet.paste(tile, (left + column * pitch[0] + (apart if column else 0), top + line * pitch[1]))
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def enlarged(pixels: np.ndarray) -> Image.Image:
    """Convert uint8 [H, W, C] to RGB of tile size. Small images are enlarged by an integer factor without interpolation."""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).convert("RGB")
    longer = max(image.size)
    if longer < TILE:
        factor = max(1, round(TILE / longer))
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    width, height = (max(1, round(side * TILE / longer)) for side in image.size)
    return image.resize((width, height), Image.Resampling.NEAREST if longer == TILE else Image.Resampling.LANCZOS)


def _wrapped(caption: str, lines: int) -> str:
    """Escape a caption for the built-in font and wrap it; what takes more than ``lines`` ends in three dots."""
    shown = caption if caption.isascii() else caption.encode("ascii", "backslashreplace").decode()
    return "\n".join(textwrap.wrap(shown, ACROSS, max_lines=lines, placeholder=" ..."))
