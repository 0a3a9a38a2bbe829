"""Stage ``wire``: make the folders where the run's pointer files stand.

DVC depends on the folder ``outputs/links/<run>/<stage>`` whether the run has links or not, so each holds one file that always
exists. Pointers whose link has left params.yaml are removed: the folder's hash must not depend on the past.

The same holds for ``outputs/ood/<run>``, where the scores of other views stand. ``views.json`` names those that are meant;
``run`` says whether there are any. The detectors depend on it: they are fitted for the first view, not for the next.
"""

import json
import shutil
from pathlib import Path

from components.core.settings import Workspace

STAGES = ("train", "export", "evaluate")


def run(workspace: Workspace, name: str) -> None:
    """Write the files that keep the run's folders alive, and clear what an older params.yaml left beside them."""
    outputs, views = workspace.folder / "outputs", list(workspace.ood(name))
    for stage in STAGES:
        _write(outputs / "links" / name / stage / "run", f"{name}\n")
        _keep_only(outputs / "links" / name / stage, {"run", *workspace.links(name, stage)})
    _write(outputs / "ood" / name / "run", f"{name}{' against other views' if views else ''}\n")
    _write(outputs / "ood" / name / "views.json", json.dumps(views) + "\n")
    _keep_only(outputs / "ood" / name, {"run", "views.json", "inside", *views})


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _keep_only(folder: Path, wanted: set[str]) -> None:
    for found in folder.iterdir():
        if found.name not in wanted:
            shutil.rmtree(found) if found.is_dir() else found.unlink()
