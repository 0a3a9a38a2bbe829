"""Pictures of the experts: the patches and words of each, and images whose patches and words are coloured by expert."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from components.families.limoe.experts import PADDING, Observed

TILE, GAP, LINE, MAP = 28, 3, 17, 112  # pixels
PAPER, INK, FAINT = (250, 250, 248), (30, 30, 30), (120, 120, 118)
TEXT_WIDTH = 460  # of a row's words
TINT = 0.55  # of an expert's colour over a patch

Grid = tuple[int, int]
Colour = tuple[int, int, int]


def expert_sheet(observed: Observed, rows: list[dict[str, Any]], grid: Grid, tiles: int) -> np.ndarray:
    """Draw uint8 [h, w, 3]: a row per row of the table, with the patches of its largest gates, at most one of an image."""
    left = 190
    width = left + tiles * (TILE + GAP) + TEXT_WIDTH
    page = Image.new("RGB", (width, (TILE + 2 * GAP) * len(rows) + 2 * GAP), PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    for place, row in enumerate(rows):
        top = GAP + place * (TILE + 2 * GAP)
        shares = f"patches {row['share_of_patches']:.0%}  words {row['share_of_words']:.0%}"
        draw.text((GAP, top + 1), f"mixture {row['mixture']}, expert {row['expert']}", fill=INK, font=font)
        draw.text((GAP, top + 14), shares, fill=FAINT, font=font)
        for number, patch in enumerate(surest(observed, row["mixture"] - 1, row["expert"], grid, tiles)):
            page.paste(enlarged(patch, TILE), (left + number * (TILE + GAP), top))
        words = fitting(draw, font, row["most_seen"] or "no words", TEXT_WIDTH - 2 * GAP)
        draw.text((width - TEXT_WIDTH + GAP, top + 8), words, fill=INK, font=font)
    return np.asarray(page)


def surest(observed: Observed, layer: int, expert: int, grid: Grid, most: int) -> list[np.ndarray]:
    """Return the patches uint8 [h, w, C] that go to an expert with the largest gates, at most one of an image."""
    gates = np.where(observed.patches[:, layer] == expert, observed.gates[:, layer], -1.0)
    best = gates.argmax(1)
    values = gates[np.arange(len(gates)), best]
    order = np.argsort(-values, kind="stable")[:most]
    return [patch_of(observed.images[image], int(best[image]), grid) for image in order if values[image] >= 0]


def patch_of(image: np.ndarray, patch: int, grid: Grid) -> np.ndarray:
    """Cut patch number ``patch``, row by row, out of an image [H, W, C]."""
    height, width = image.shape[0] // grid[0], image.shape[1] // grid[1]
    row, column = divmod(patch, grid[1])
    return image[row * height : (row + 1) * height, column * width : (column + 1) * width]


def routing_maps(observed: Observed, experts: int, grid: Grid, most: int) -> np.ndarray:
    """Draw uint8 [h, w, 3]: a row per image: itself, its patches in the experts' colours per mixture, its words in theirs."""
    number, mixtures = min(most, len(observed.images)), observed.patches.shape[1]
    colours, font = palette(experts), ImageFont.load_default(12)
    height = max(MAP + 2 * GAP, mixtures * LINE + 2 * GAP)
    left = (mixtures + 1) * (MAP + GAP) + 3 * GAP
    page = Image.new("RGB", (left + TEXT_WIDTH, LINE + 2 * GAP + number * height), PAPER)
    draw = ImageDraw.Draw(page)
    place = GAP
    for expert, colour in enumerate(colours):  # the key
        draw.rectangle((place, GAP, place + LINE - 4, GAP + LINE - 4), fill=colour)
        draw.text((place + LINE, GAP - 1), str(expert), fill=INK, font=font)
        place += 2 * LINE + 6
    for row in range(number):
        top = LINE + 2 * GAP + row * height
        image = enlarged(observed.images[row], MAP)
        page.paste(image, (GAP, top))
        for layer in range(mixtures):
            tinted = tint(image, observed.patches[row, layer], colours, grid)
            page.paste(tinted, (GAP + (layer + 1) * (MAP + GAP), top))
            words = list(zip(observed.pieces[row], observed.words[row, layer].tolist(), strict=True))
            coloured_words(draw, (left, top + layer * LINE), words, colours)
    return np.asarray(page)


def coloured_words(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], words: list[tuple[str, int]], colours: list[Colour]
) -> None:
    """Write a caption's tokens on the colours of their experts."""
    left, top = place
    font = ImageFont.load_default(12)
    for piece, expert in words:
        if expert == PADDING:
            break
        end = left + draw.textlength(piece, font=font)
        draw.rectangle((left - 1, top + 1, end + 1, top + LINE - 3), fill=colours[expert])
        draw.text((left, top), piece, fill=(0, 0, 0), font=font)
        left = int(end) + 6


def tint(image: Image.Image, experts: np.ndarray, colours: list[Colour], grid: Grid) -> Image.Image:
    """Blend each patch of an image with its expert's colour."""
    cells = np.array([colours[expert] for expert in experts], np.uint8).reshape(*grid, 3)
    return Image.blend(image, Image.fromarray(cells).resize(image.size, Image.Resampling.NEAREST), TINT)


def palette(number: int) -> list[Colour]:
    """Return as many colours, evenly spaced in hue, alternately darker."""
    hues = [colorsys.hsv_to_rgb(index / number, 0.5, 1.0 if index % 2 else 0.85) for index in range(number)]
    return [(round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in hues]


def enlarged(pixels: np.ndarray, side: int) -> Image.Image:
    """Resize uint8 [h, w, C] to a square of ``side`` pixels."""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).convert("RGB")
    return image.resize((side, side), Image.Resampling.NEAREST)


def fitting(draw: ImageDraw.ImageDraw, font: Any, text: str, width: int) -> str:
    """Shorten a text to ``width`` pixels."""
    while text and draw.textlength(text, font=font) > width:
        text = text[:-2] + "…" if text[-1] == "…" else text[:-1] + "…"
    return text
