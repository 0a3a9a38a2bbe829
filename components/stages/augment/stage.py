"""Stage ``augment``: prepare the dataset for training in ``outputs/views/<view>``; report on it in ``outputs/view_report``."""

from __future__ import annotations

from components.core.files import read_json
from components.core.settings import Workspace
from components.stages.augment.prepare import make_view


def run(workspace: Workspace, name: str) -> None:
    """Prepare the view and print a summary."""
    settings = workspace.view(name)
    outputs = workspace.folder / "outputs"
    dataset = outputs / "datasets" / settings.dataset
    if not (dataset / "dataset.json").is_file():
        raise ValueError(f"{dataset}: no dataset there; `dvc repro fetch@{settings.dataset}` makes it")
    report = outputs / "view_report" / name
    facts = make_view(name, settings, dataset, outputs / "views" / name, workspace.params.seed, report=report)
    counts = " + ".join(f"{split} {count}" for split, count in facts.counts.items())
    classes = ", ".join(f"{len(names)} {column} classes" for column, names in facts.classes.items())
    text = f"{name}: {facts.height} x {facts.width} x {facts.channels}, {counts} images, {classes}"
    quality = read_json(report / "quality.json").get("summary", [])
    print("\n".join([text, *(f"  {line}" for line in quality)]))
