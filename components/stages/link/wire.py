"""Stage ``wire``: make the folders where the run's pointer files stand.

DVC depends on the folder ``outputs/links/<run>/<stage>`` whether the run has links or not, so each holds one file that always
exists. Pointers whose link has left params.yaml are removed: the folder's hash must not depend on the past. Which are meant
stands in ``outputs/code/links/<run>.json``: an edit of other runs' links is none of this run's business.
"""

import json
import shutil
from pathlib import Path

from components.core.settings import Workspace


def run(workspace: Workspace, name: str) -> None:
    """Write the files that keep the run's folders alive, and clear what an older params.yaml left beside them."""
    outputs = workspace.folder / "outputs"
    roles: dict[str, list[str]] = json.loads((outputs / "code" / "links" / f"{name}.json").read_text(encoding="utf-8"))
    for stage, names in roles.items():
        folder = outputs / "links" / name / stage
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run").write_text(f"{name}\n", encoding="utf-8")
        _remove_others(folder, {"run", *names})


def _remove_others(folder: Path, names: set[str]) -> None:
    for path in folder.iterdir():
        if path.name not in names:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
