"""Stage ``wire``: create the folders of the run's pointer files.

DVC depends on the folder ``outputs/links/<run>/<stage>`` even if the run has no links, so each contains a placeholder file.
Pointers whose link is no longer in params.yaml are removed: the folder's hash must not depend on the past. The current roles
are read from ``outputs/code/links/<run>.json``, so that an edit of other runs' links does not affect this run.
"""

import json
import shutil
from pathlib import Path

from components.core.settings import Workspace


def run(workspace: Workspace, name: str) -> None:
    """Write the placeholder files, and remove pointers of an older params.yaml."""
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
