"""contact.png: some training images, each beside what the augmentation policy makes of it. For eyes, not for machines."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from components.core.batch import ViewFacts
from components.stages.augment.draws import Augmenter, Draws

LINES, COLUMNS = 10, 8
TILE, GAP, MARGIN = 96, 6, 20  # pixels
PAPER, INK, FAINT = (250, 250, 248), (30, 30, 30), (120, 120, 120)


def pick(labels: np.ndarray, augmented: bool) -> np.ndarray:
    """Rows for the sheet in ascending order of class: the classes in turn, or every so many of them where there are more."""
    count = LINES if augmented else LINES * COLUMNS
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
    facts: ViewFacts, images: np.ndarray, labels: np.ndarray, augmenter: Augmenter | None, seed: int, *, corrupted: bool
) -> bytes:
    """PNG of uint8 [n, H, W, C]: a line an image with its augmented versions, or originals alone where there is no policy."""
    original = "corrupted original" if corrupted else "original"
    names = next(facts.classes[column] for column in ("label", "domain") if column in facts.classes)
    grey = "grey" if facts.channels == 1 else "RGB"
    counts = ", ".join(f"{split} {count}" for split, count in facts.counts.items())
    title = f"{facts.name}: {facts.image_size} x {facts.image_size} {grey}, {counts}"
    if augmenter is None:
        lines = [list(images[start : start + COLUMNS]) for start in range(0, len(images), COLUMNS)]
        return _draw(title, f"{original}s; nothing is drawn at training", lines, ["" for _ in lines])
    draws = [Draws.make(COLUMNS - 1, seed, "contact", line) for line in range(len(images))]
    lines = [_with_augmented(image, augmenter, drawn) for image, drawn in zip(images, draws, strict=True)]
    subtitle = f"left: {original}; right: {COLUMNS - 1} draws of the augmentation policy"
    return _draw(title, subtitle, lines, [names[label] for label in labels])


def _with_augmented(image: np.ndarray, augmenter: Augmenter, draws: Draws) -> list[np.ndarray]:
    return [image, *augmenter(np.stack([image] * (COLUMNS - 1)), draws)]


def _draw(title: str, subtitle: str, lines: list[list[np.ndarray]], captions: list[str]) -> bytes:
    side = _side(lines[0][0].shape[0])
    font, captions = ImageFont.load_default(15), [_short(caption) for caption in captions]
    space = max(round(font.getlength(caption)) for caption in captions)
    left, apart = (MARGIN + space + MARGIN, 3 * GAP) if space else (MARGIN, 0)  # the gap sets the originals apart
    top, pitch = MARGIN + 56, side + GAP
    sheet = Image.new("RGB", (left + COLUMNS * pitch - GAP + apart + MARGIN, top + len(lines) * pitch - GAP + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, ImageFont.load_default(18))
    draw.text((MARGIN, MARGIN + 26), subtitle, FAINT, ImageFont.load_default(13))
    for line, (tiles, caption) in enumerate(zip(lines, captions, strict=True)):
        draw.text((MARGIN, top + line * pitch + side // 2), caption, INK, font, anchor="lm")
        for column, tile in enumerate(tiles):
            sheet.paste(_enlarged(tile, side), (left + column * pitch + (apart if column else 0), top + line * pitch))
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _side(size: int) -> int:
    """Pixels of a tile: a whole multiple of a small image's size, so that its pixels are seen as they are."""
    return size * max(1, round(TILE / size)) if size < TILE else TILE


def _enlarged(tile: np.ndarray, side: int) -> Image.Image:
    image = Image.fromarray(tile[:, :, 0] if tile.shape[2] == 1 else tile).convert("RGB")
    return image.resize((side, side), Image.Resampling.NEAREST if image.width <= side else Image.Resampling.LANCZOS)


def _short(caption: str) -> str:
    """What the built-in font can show, in the space there is."""
    shown = caption if caption.isascii() else caption.encode("ascii", "backslashreplace").decode()
    return shown if len(shown) <= 14 else shown[:13] + "."
