"""The run's champion with its detector: shipped code, threshold and reference scores, and its preparation of images."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.core.settings import Workspace
from components.core.strict import parse
from components.registry import model_registry as registry
from components.registry.record.lineage import lineage
from components.registry.tracking import connect, reachable
from components.serving.loading import load_served
from components.stages.augment.policy.policies import ViewSettings, pair

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

PREPARES = ("image_size", "stored_size", "channels", "fit", "pad_value")  # settings of a view that affect a single image


@dataclass(frozen=True)
class Champion:
    """A champion. ``reference``: float32 [m], scores of the validation images; images below ``threshold`` are rejected.

    ``view``: settings by which images are prepared, ``prepared_by``: their source. ``served``: the version's own code.
    """

    name: str
    version: int
    key: str
    detector: str
    threshold: float
    reference: np.ndarray
    view: ViewSettings
    prepared_by: str
    served: Any

    @property
    def model(self) -> str:
        """Identity of the model that scores: version, key and preparation. A rebuilt registry reuses version numbers."""
        return " ".join(
            [
                str(self.version),
                self.key,
                *(f"{key}={value}" for key in PREPARES if (value := getattr(self.view, key)) is not None),
            ]
        )


def find_champion(workspace: Workspace, run: str) -> Champion:
    """Return the champion of the run; ValueError, with the remedy, if there is none or it has no detector."""
    name = workspace.registered_name(run)
    with reachable():
        client = connect()
        version = registry.aliased(client, name, "champion")
        if version is None:
            raise ValueError(f"{name} has no champion yet: `python -m flows promote {run}` makes its candidate one")
        folder, entries = registry.export_folder(client, name, int(version.version)), lineage(client, version)
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    detector = facts.get("detector")
    if not detector:
        steps = f"`python -m flows run --runs {run}`, `python -m flows promote {run}`"
        how = f"give the run a block of `detect` with `serve: vim` and link what it serves to the export, then {steps}"
        raise ValueError(f"{name}: its champion, version {version.version}, ships no detector of strange images; {how}")
    view, prepared_by = preparation(workspace, run, entries)
    _check_pixels(name, version, facts, view, prepared_by)
    return Champion(
        name=name,
        version=int(version.version),
        key=str(version.tags.get(registry.KEY, "")),
        detector=detector["name"],
        threshold=float(np.float32(detector["threshold"])),  # the graph compares in float32
        reference=_reference(folder / "reference.npz"),
        view=view,
        prepared_by=prepared_by,
        served=load_served(folder),
    )


def preparation(workspace: Workspace, run: str, entries: dict[str, Any] | None) -> tuple[ViewSettings, str]:
    """Return the view settings of the version's lineage, or today's without a lineage, and a text that says which."""
    try:
        assert entries is not None
        view = entries[f"train@{run}"]["params"]["params.yaml"][f"runs.{run}.view"]
        block, words = entries[f"augment@{view}"]["params"]["params.yaml"][f"views.{view}"], f"view {view}, as in its lineage"
    except (AssertionError, KeyError, TypeError):
        view = workspace.params.runs[run].view
        block, words = workspace.params.views[view], f"view {view} as it is today: the version has no lineage"
    used = {key: block[key] for key in PREPARES if key in block}
    return parse(ViewSettings, {"dataset": "incoming", **used}, f"views.{view}"), words


def _check_pixels(name: str, version: ModelVersion, facts: dict[str, Any], view: ViewSettings, prepared_by: str) -> None:
    expected, prepared = (*pair(facts["image_size"]), facts["channels"]), (*view.shown, view.channels)
    if expected != prepared:
        sizes = "{0} x {1} pixels with {2} channel(s)"
        needs = f"{name}: version {version.version} takes {sizes.format(*expected)}"
        other = f"{prepared_by} makes {sizes.format(*prepared)}"
        raise ValueError(f"{needs}, but {other}; promote a version that was trained on it")


def _reference(path: Path) -> np.ndarray:
    with np.load(path, allow_pickle=False) as arrays:
        return np.asarray(arrays["ood_score"])
