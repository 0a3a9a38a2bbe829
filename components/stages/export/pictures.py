"""Pictures in an export: how they are prepared, and golden pictures, whose pixels must be those of the view."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from components.core.files import read_arrays, write_json
from components.core.recipe import Exportable
from components.serving.golden import decoder, record
from components.serving.loading import load_served
from components.serving.preparation import Preparation
from components.stages.views.frames import centre_crop
from components.stages.views.view import View


def with_preparation(exportable: Exportable, preparation: Preparation) -> Exportable:
    """Add the view's preparation to the facts of a model whose input ``image`` has the view's shape."""
    shape = [*preparation.image_size, preparation.channels]
    takes = any(entry["name"] == "image" and entry["shape"][1:] == shape for entry in exportable.signature["inputs"])
    if not takes:
        return exportable
    return dataclasses.replace(exportable, facts={**exportable.facts, "preparation": preparation.to_json()})


def write_golden(folder: Path, samples: Path, view: View) -> str | None:
    """Write ``golden/`` and golden.json to the export ``folder``; return a line on what was left out, or None.

    ``samples``: the encoded pictures of the view's report. ValueError if the shipped code decodes one of them to other pixels
    than the view has.
    """
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    if "preparation" not in facts:
        return None
    if not (samples / "samples.json").is_file():
        return f"no golden pictures: {samples} is not there; `dvc repro augment@{view.facts.name}` makes it"
    served, example = load_served(folder), read_arrays(folder / "example.npz")
    if not hasattr(served, "decode"):
        return "no golden pictures: its served code has no method `decode`"
    inputs = {name: array[:1] for name, array in example.items() if array.ndim in (1, 2)}  # beside images: domain, labels
    entries = []
    for number, sample in enumerate(json.loads((samples / "samples.json").read_text(encoding="utf-8"))):
        data = (samples / sample["file"]).read_bytes()
        _must_equal(served.decode(data), view, sample)
        suffix = Path(sample["file"]).suffix
        entries.append(record(folder, served, number, name=sample["name"], data=data, suffix=suffix, inputs=inputs))
    write_json(folder / "golden.json", {"decoder": decoder(), "pictures": entries}, ensure_ascii=False)
    return None


def _must_equal(pixels: np.ndarray, view: View, sample: dict[str, Any]) -> None:
    size = (view.facts.height, view.facts.width)
    row = view.split(sample["split"]).images[sample["row"]][None]
    if not np.array_equal(centre_crop({"image": row}, size, None)["image"][0], pixels):
        place = f"row {sample['row']} of the {sample['split']} split of view {view.facts.name}"
        raise ValueError(
            f"{sample['name']}: the pixels decoded by the export are not those of {place}: nothing is exported; "
            f"`dvc repro -f augment@{view.facts.name}` prepares the view again"
        )
