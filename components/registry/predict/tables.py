"""Write predictions as CSV and as JSON lines, while they arrive; the files appear when all is written."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from components.registry.predict.classify import Prediction

COLUMNS = ("file", "label", "probability", "top5", "ood_score", "is_ood")

Write = Callable[[list[Prediction]], None]


@contextmanager
def tables(csv_file: Path, jsonl_file: Path | None = None) -> Iterator[Write]:
    """Yield a function that appends predictions to both files. An error leaves earlier files as they were."""
    with ExitStack() as stack:
        rows = csv.writer(stack.enter_context(replaced(csv_file)), lineterminator="\n")
        rows.writerow(COLUMNS)
        lines = stack.enter_context(replaced(jsonl_file)) if jsonl_file else None

        def write(predictions: list[Prediction]) -> None:
            rows.writerows(row(prediction) for prediction in predictions)
            if lines is not None:
                lines.writelines(line(prediction) for prediction in predictions)

        yield write


def row(prediction: Prediction) -> list[str]:
    """Format the cells of ``COLUMNS``; the last two are empty without a detector."""
    top = "|".join(f"{name}:{share:.6f}" for name, share in prediction.top)
    score = "" if prediction.ood_score is None else f"{prediction.ood_score:.6g}"
    out = "" if prediction.is_ood is None else str(prediction.is_ood).lower()
    return [prediction.file, prediction.label, f"{prediction.probability:.6f}", top, score, out]


def line(prediction: Prediction) -> str:
    """Format one line of JSON; ``top5`` is a list of {"label", "probability"}, absent OOD values are null."""
    top = [{"label": name, "probability": share} for name, share in prediction.top]
    values = (prediction.file, prediction.label, prediction.probability, top, prediction.ood_score, prediction.is_ood)
    return json.dumps(dict(zip(COLUMNS, values, strict=True))) + "\n"


@contextmanager
def replaced(path: Path) -> Iterator[IO[str]]:
    """Open a new text file that replaces ``path`` when the block succeeds. A name that is not UTF-8 keeps its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            yield file
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
