"""Translate pictures into a domain: a folder of them, and a page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.predict.reading import Reading, decoded

if TYPE_CHECKING:
    from components.registry.predict.model import Model


def translate_pictures(args: argparse.Namespace, model: Model) -> int:
    """Write the translations of the command's pictures; return the exit code."""
    from components.registry.predict.sheet import COLUMNS, EACH, Tile, draw_page
    from components.registry.predict.translate import domain_index, empty_folder, translate

    domain = domain_index(model.served, args.domain)
    folder = empty_folder(args.out or Path(f"{args.run}_{args.domain}"))
    reading, tiles = Reading(args.what), list[Tile]()
    found = decoded(model, reading, args.batch)
    for pictures, sources, images in translate(model.served, found, domain, args.seed, folder):
        pairs = zip(pictures, sources, images, strict=True)
        rows: list[Any] = [Tile(pixels, (Path(p.name).name,)) for p, source, image in pairs for pixels in (source, image)]
        tiles += rows[: 2 * EACH - len(tiles)]
    code = reading.conclude()
    if args.sheet and tiles:
        ordered = _pairs_below_each_other(tiles, COLUMNS)
        title = f"{model.name}, {model.origin}: into {args.domain}"
        draw_page(beside(folder), title, [("pictures, and their translations below them", ordered)])
    print(f"written: {folder}/" + (f", {beside(folder)}" if args.sheet and tiles else ""))
    return code


def beside(folder: Path) -> Path:
    """Return the page of a folder of pictures: a PNG file beside it, so that it never takes a picture's name."""
    return folder.with_name(f"{folder.name}.png")


def _pairs_below_each_other(tiles: list[Any], columns: int) -> list[Any]:
    """Order source, translation, source, ... so that, in rows of ``columns`` tiles, each translation is below its source."""
    ordered = []
    for start in range(0, len(tiles), 2 * columns):
        part = tiles[start : start + 2 * columns]
        ordered += part[::2] + part[1::2]
    return ordered
