"""``python -m components.stages.link.wire <run>``: make the folders where the run's pointer files stand.

DVC depends on the folder ``outputs/links/<run>/<stage>`` whether the run has links or not, so each holds one file that always
exists. Pointers whose link has left params.yaml are removed: the folder's hash must not depend on the past.

The same holds for ``outputs/ood/<run>``, where the scores of other views stand. ``views.json`` names those that are meant;
``run`` says whether there are any. The detectors depend on it: they are fitted for the first view, not for the next.

``outputs/code/<run>`` holds the digests of the code that the run is made of (components.stages.code.closure).
"""

import json
import shutil
from pathlib import Path
from typing import Any

from components.core.runtime import argument, run_command
from components.core.settings import Workspace
from components.core.strict import must_exist
from components.families import RECIPES
from components.networks import MODELS
from components.stages.code.closure import code_of

STAGES = ("train", "export", "evaluate")


def main() -> None:
    wire(Workspace(), argument("python -m components.stages.link.wire <run>"))


def wire(workspace: Workspace, run: str) -> None:
    """Write ``contents``, and clear what an older params.yaml left beside them."""
    outputs = workspace.folder / "outputs"
    for path, text in contents(workspace, run).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for stage in STAGES:
        keep_only(outputs / "links" / run / stage, {"run", *workspace.links(run, stage)})
    keep_only(outputs / "ood" / run, {"run", "views.json", "inside", *workspace.ood(run)})


def contents(workspace: Workspace, run: str) -> dict[Path, str]:
    """What this stage writes for ``run``: file -> text. SettingsError for a recipe or model that is in no catalogue."""
    outputs, block, views = workspace.folder / "outputs", workspace.params.runs[run], list(workspace.ood(run))
    model = str(block.model.get("name"))
    must_exist(block.recipe, RECIPES, f"runs.{run}.recipe")
    must_exist(model, MODELS, f"runs.{run}.model.name")
    code = code_of(block.recipe, model)
    return {
        **{outputs / "code" / run / f"{use}.json": _json(digests, indent=1) for use, digests in code.items()},
        **{outputs / "links" / run / stage / "run": f"{run}\n" for stage in STAGES},
        outputs / "ood" / run / "run": f"{run}{' against other views' if views else ''}\n",
        outputs / "ood" / run / "views.json": _json(views),
    }


def _json(content: Any, indent: int | None = None) -> str:
    return json.dumps(content, indent=indent, sort_keys=True) + "\n"


def keep_only(folder: Path, wanted: set[str]) -> None:
    """Remove what an older params.yaml left in ``folder``."""
    for found in folder.iterdir():
        if found.name not in wanted:
            shutil.rmtree(found) if found.is_dir() else found.unlink()


if __name__ == "__main__":
    run_command(main)
