"""``python -m components.link.wire <run>``: make the folders where the run's pointer files stand.

DVC depends on the folder ``outputs/links/<run>/<stage>`` whether the run has links or not, so each holds one file that always
exists. Pointers whose link has left params.yaml are removed: the folder's hash must not depend on the past.

The same holds for ``outputs/ood/<run>``, where the scores of other views stand. ``views.json`` names those that are meant;
``run`` says whether there are any. The detectors depend on it: they are fitted for the first view, not for the next.
"""

import json
import shutil
from pathlib import Path

from components.runtime import argument, run_command
from components.settings import Workspace

STAGES = ("train", "evaluate")


def main() -> None:
    run = argument("python -m components.link.wire <run>")
    workspace = Workspace()
    for stage in STAGES:
        folder = workspace.folder / "outputs" / "links" / run / stage
        folder.mkdir(parents=True, exist_ok=True)
        wanted = {"run", *workspace.links(run, stage)}
        for pointer in folder.iterdir():
            if pointer.name not in wanted:
                pointer.unlink()
        (folder / "run").write_text(f"{run}\n", encoding="utf-8")
    tidy_ood(workspace.folder / "outputs" / "ood" / run, run, list(workspace.ood(run)))


def tidy_ood(folder: Path, run: str, views: list[str]) -> None:
    """``folder`` with the file that keeps it alive, the names of ``views``, and nothing of any other view."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {"run", "views.json", "inside", *views}
    for found in folder.iterdir():
        if found.name not in wanted:
            shutil.rmtree(found) if found.is_dir() else found.unlink()
    (folder / "run").write_text(f"{run}{' against other views' if views else ''}\n", encoding="utf-8")
    (folder / "views.json").write_text(json.dumps(views) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
