"""``python -m components.fetch <dataset>``: make outputs/datasets/<dataset> of the workspace that is the working folder."""

from __future__ import annotations

from components.fetch import SOURCES
from components.fetch.dataset_files import summary
from components.runtime import argument, fresh_folder, run_command
from components.settings import Workspace
from components.strict import resolve


def main() -> None:
    name = argument("python -m components.fetch <dataset>")
    workspace = Workspace()
    settings = workspace.dataset(name)
    source = resolve(SOURCES, settings.source, f"datasets.{name}.source")
    out = workspace.folder / "outputs" / "datasets" / name
    with fresh_folder(out) as temporary:
        source.fetch(settings, temporary, workspace.params.seed, workspace.folder)
    print(f"{name}: {summary(out)} -> {out.relative_to(workspace.folder)}", flush=True)


if __name__ == "__main__":
    run_command(main)
