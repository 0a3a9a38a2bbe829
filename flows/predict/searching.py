"""Search pictures by a text: an index, a table and a page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.config.strict import SettingsError
from flows.predict.reading import Reading

if TYPE_CHECKING:
    from components.registry.predict.index import Index
    from components.registry.predict.model import Model
    from components.registry.predict.search import Hit


def search_pictures(args: argparse.Namespace, model: Model, state: Path) -> int:
    """Write the best of the command's pictures; return the exit code. ``state``: folder of the index, unless one is named."""
    from components.core.artifact import content_md5
    from components.registry.predict.index import Index
    from components.registry.predict.search import best, embed_pictures, must_search, text_vector, write_hits

    must_search(model)
    vector, warning = text_vector(model, args.text)
    if warning:
        print(f"warning: {warning}", file=sys.stderr)
    digest = content_md5(model.folder)
    index = Index(args.index or state / f"{model.name}-{digest[:12]}.npz", digest)
    if index.note:
        print(f"warning: {index.note}", file=sys.stderr)
    reading = Reading(args.what)
    try:
        found = list(embed_pictures(model, reading, index, args.batch, reading.report))
        added = index.grown
    finally:
        _save(index)  # also when stopped: what is embedded need not be embedded again
    code = reading.conclude("searched")
    print(f"{added:,} pictures are new to the index {index.path}, which has {len(index):,}")
    if found:
        hits = best(found, index, vector, args.top)
        write_hits(args.out, hits)
        sheet = args.out.with_suffix(".png")
        draw_hits(sheet, f"{args.text!r}: {model.name}, {model.origin}, {len(found):,} pictures", hits, model)
        print("\n".join(f"{hit.score:.3f}  {hit.picture.name}" for hit in hits[:5]))
        print(f"written: {args.out}, {sheet}")
    return code


def _save(index: Index) -> None:
    try:
        index.save()
    except OSError as error:
        raise SettingsError(f"--index: {index.path}: {error.strerror or error}") from None


def draw_hits(path: Path, title: str, hits: Sequence[Hit], model: Model) -> None:
    """Draw the pictures, best first, with score and name."""
    from components.registry.predict.search import pixels_of
    from components.registry.predict.sheet import Tile, draw_page

    tiles = [Tile(pixels, (f"{hit.score:.3f}", Path(hit.picture.name).name)) for hit, pixels in pixels_of(hits, model)]
    draw_page(path, title, [("best first", tiles)])
