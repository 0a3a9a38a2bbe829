"""``python -m components.stages.fetch <dataset>``: make outputs/datasets/<dataset> of the workspace."""

from __future__ import annotations

from components.core.runtime import argument, fresh_folder, run_command
from components.core.settings import Workspace
from components.core.strict import resolve
from components.stages.fetch import SOURCES
from components.stages.fetch.dataset_files import summary


def main() -> None:
    name = argument("python -m components.stages.fetch <dataset>")
    workspace = Workspace()
    settings = workspace.dataset(name)
    source = resolve(SOURCES, settings.source, f"datasets.{name}.source")
    out = workspace.folder / "outputs" / "datasets" / name
    with fresh_folder(out) as temporary:
        source.fetch(settings, temporary, workspace.params.seed, workspace.folder)
    print(f"{name}: {summary(out)} -> {out.relative_to(workspace.folder)}", flush=True)


if __name__ == "__main__":
    run_command(main)
