"""Stage ``fetch``: write the dataset to outputs/datasets/<dataset>."""

from __future__ import annotations

from components.core import catalogue
from components.core.files import fresh_folder
from components.core.settings import Workspace
from components.stages.fetch.dataset_files import summary


def run(workspace: Workspace, name: str) -> None:
    """Write the dataset's files by its source; a failure leaves the previous files."""
    settings = workspace.dataset(name)
    source = catalogue.load("source", settings.source, f"datasets.{name}.source")
    out = workspace.folder / "outputs" / "datasets" / name
    with fresh_folder(out) as temporary:
        source.fetch(settings, temporary, workspace.params.seed, workspace.folder)
    print(f"{name}: {summary(out)} -> {out.relative_to(workspace.folder)}", flush=True)
