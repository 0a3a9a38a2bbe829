"""Detect objects in pictures: a table with a row per object, a page, and counts per class."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.config.strict import SettingsError
from flows.pipeline.report import table
from flows.predict.reading import Reading, decoded

if TYPE_CHECKING:
    from components.registry.predict.model import Model


def detect_objects(args: argparse.Namespace, model: Model) -> int:
    """Write the objects of the command's pictures; return the exit code."""
    from components.registry.predict.detect import detect, object_tables
    from components.registry.predict.sheet import Extremes, draw_page

    out: Path = args.out or Path("predictions.csv")
    if out.is_dir() or out.suffix.lower() not in (".csv", ".txt"):
        raise SettingsError(f"--out: {str(out)!r} is not allowed: the name of a .csv file")
    files = {"csv": out} | ({"jsonl": out.with_suffix(".jsonl")} if args.jsonl else {})
    reading, extremes, objects, pictures = Reading(args.what), Extremes(), Counter[str](), Counter[str]()
    with object_tables(out, files.get("jsonl")) as write:
        for batch in detect(model.served, decoded(model, reading, args.batch), args.threshold):
            write(batch)
            for picture in batch:
                objects.update(picture.labels)
                pictures.update(set(picture.labels))
                if args.sheet:
                    extremes.add([picture.prediction], picture.shown[None])
        code = reading.conclude()  # an error here leaves an earlier file
    if args.sheet and extremes.number:
        files["sheet"] = out.with_suffix(".png")
        draw_page(files["sheet"], f"{model.name}, {model.origin}: {extremes.number:,} pictures", extremes.blocks())
    rows = [
        {"label": name, "objects": f"{objects[name]:,}", "pictures": f"{pictures[name]:,}"}
        for name in model.served.facts["classes"]
    ]
    print(table(rows))
    print(f"written: {', '.join(map(str, files.values()))}")
    return code
