"""Generated photographs: JPEG files of three classes, of mixed sizes, some turned by their EXIF orientation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

CLASSES = ("disc", "stripes", "square")
TURNS = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


def write_photographs(folder: Path, number: int, seed: int = 0) -> None:
    """Write ``number`` photographs, as many of each class, to ``folder/<class>/<index>.jpg``."""
    for index in range(number):
        name = CLASSES[index % len(CLASSES)]
        generator = np.random.default_rng((seed, index))
        orientation = (1, 1, 6, 3, 8)[index % 5]
        path = folder / name / f"{index:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        save(photograph(name, generator), path, orientation)


def save(image: Image.Image, path: Path, orientation: int) -> None:
    """Save as a camera does that was held this way: turned pixels, and an EXIF entry that turns them back."""
    turn = TURNS[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    (image if turn is None else image.transpose(turn)).save(path, quality=90, exif=exif)


def photograph(name: str, generator: np.random.Generator) -> Image.Image:
    """Draw one picture of a class, in random colours, place and size, with noise."""
    width, height = (int(side) for side in generator.integers(96, 400, 2))
    paper, ink = (tuple(int(v) for v in generator.integers(low, low + 100, 3)) for low in (140, 10))
    image = Image.new("RGB", (width, height), paper)
    draw = ImageDraw.Draw(image)
    side = min(width, height)
    radius = side * float(generator.uniform(0.25, 0.4))
    x, y = width / 2 + float(generator.uniform(-0.1, 0.1)) * side, height / 2 + float(generator.uniform(-0.1, 0.1)) * side
    box = (x - radius, y - radius, x + radius, y + radius)
    if name == "disc":
        draw.ellipse(box, fill=ink)
    elif name == "square":
        draw.rectangle(box, fill=ink)
    else:
        pitch = max(6, side // int(generator.integers(5, 9)))
        for left in range(0, width, 2 * pitch):
            draw.rectangle((left, 0, left + pitch, height), fill=ink)
    noise = generator.normal(0, 8, (height, width, 3))
    pixels = np.clip(np.asarray(image.filter(ImageFilter.GaussianBlur(1))) + noise, 0, 255)
    return Image.fromarray(pixels.astype(np.uint8))
