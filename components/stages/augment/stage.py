"""Stage ``augment``: prepare the dataset for training in ``outputs/views/<view>``; report on it in ``outputs/view_report``."""

from __future__ import annotations

from components.core.files import read_json
from components.core.settings import Workspace
from components.stages.augment.prepare import make_view
from components.stages.augment.tokens import TEXT_REPORT, text_summary


def run(workspace: Workspace, name: str) -> None:
    """Prepare the view and print a summary."""
    settings = workspace.view(name)
    outputs = workspace.folder / "outputs"
    dataset = outputs / "datasets" / settings.dataset
    if not (dataset / "dataset.json").is_file():
        raise ValueError(f"{dataset}: no dataset there; `dvc repro fetch@{settings.dataset}` makes it")
    report, out = outputs / "view_report" / name, outputs / "views" / name
    facts = make_view(name, settings, dataset, out, workspace.params.seed, report=report, root=workspace.folder)
    counts = " + ".join(f"{split} {count}" for split, count in facts.counts.items())
    classes = ", ".join(f"{len(names)} {column} classes" for column, names in facts.classes.items())
    text = f"{name}: {facts.height} x {facts.width} x {facts.channels}, {counts} images, {classes}"
    quality = read_json(report / "quality.json").get("summary", [])
    captions = text_summary(read_json(report / TEXT_REPORT)) if settings.text else []
    print("\n".join([text, *(f"  {line}" for line in [*captions, *quality])]))
