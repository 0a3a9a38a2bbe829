"""Classify pictures: a table, a page, and counts per class."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.config.strict import SettingsError
from flows.pipeline.report import table
from flows.predict.reading import Reading, decoded

if TYPE_CHECKING:
    from components.registry.predict.model import Model


def classify_pictures(args: argparse.Namespace, model: Model) -> int:
    """Write the predictions of the command's pictures; return the exit code."""
    from components.registry.predict.classify import classify
    from components.registry.predict.sheet import Extremes, draw_page
    from components.registry.predict.tables import tables

    out: Path = args.out or Path("predictions.csv")
    if out.is_dir() or out.suffix.lower() not in (".csv", ".txt"):
        raise SettingsError(f"--out: {str(out)!r} is not allowed: the name of a .csv file")
    if not model.served.facts["classes"]:
        fault = f"{model.name} has no classes: its view has captions alone"
        raise SettingsError(f"predict: {fault}; `python -m flows search {args.run} TEXT FOLDER` finds pictures by a text")
    files = {"csv": out} | ({"jsonl": out.with_suffix(".jsonl")} if args.jsonl else {})
    reading, extremes, counts, strange = Reading(args.what), Extremes(), Counter[str](), Counter[str]()
    with tables(out, files.get("jsonl")) as write:
        for predictions, pixels in classify(model.served, decoded(model, reading, args.batch)):
            write(predictions)
            counts.update(prediction.label for prediction in predictions)
            strange.update(prediction.label for prediction in predictions if prediction.is_ood)
            if args.sheet:
                extremes.add(predictions, pixels)
        code = reading.conclude()  # an error here leaves an earlier file
    if args.sheet and counts:
        files["sheet"] = out.with_suffix(".png")
        draw_page(files["sheet"], f"{model.name}, {model.origin}: {counts.total():,} pictures", extremes.blocks())
    print(counts_table(model.served.facts["classes"], counts, strange if "detector" in model.served.facts else None))
    print(f"written: {', '.join(map(str, files.values()))}")
    return code


def counts_table(classes: Iterable[str], counts: Counter[str], strange: Counter[str] | None) -> str:
    """Format the number of pictures per class, and how many of them are out of distribution."""
    total = max(1, counts.total())
    rows = [
        {"label": name, "pictures": f"{counts[name]:,}", "share": f"{counts[name] / total:.1%}"}
        | ({} if strange is None else {"out of distribution": f"{strange[name]:,}"})
        for name in classes
    ]
    return table(rows)
