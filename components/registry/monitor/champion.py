"""The run's champion with its detector: shipped code, threshold and reference scores, and its preparation of images."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.core.config.strict import parse
from components.core.settings import Workspace
from components.registry import model_registry as registry
from components.registry.monitor.confidence import NAME, finds_objects, reference_scores, threshold_of
from components.registry.record.lineage import lineage
from components.registry.tracking import connect, reachable
from components.serving.decoding import decode_picture
from components.serving.loading import load_served
from components.serving.preparation import Preparation
from components.stages.augment.policy.policies import ViewSettings, pair

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

PREPARES = tuple(field.name for field in fields(Preparation))  # settings of a view that affect a single image


@dataclass(frozen=True)
class Champion:
    """A champion. ``reference``: float32 [m], scores of the validation images; images below ``threshold`` are rejected.

    A detector of objects has no threshold of its own: see ``confidence``, its reference are the pictures of the evaluation.

    ``preparation``: how images are prepared, ``prepared_by``: its source. ``served``: the version's own code.
    """

    name: str
    version: int
    key: str
    detector: str
    threshold: float
    reference: np.ndarray
    preparation: Preparation
    prepared_by: str
    served: Any

    @property
    def model(self) -> str:
        """Identity of the model that scores: version, key and preparation. A rebuilt registry reuses version numbers."""
        fields = self.preparation.to_json()
        return " ".join(
            [str(self.version), self.key, *(f"{key}={value}" for key, value in fields.items() if value is not None)]
        )

    def decode(self, data: bytes) -> np.ndarray:
        """Decode a picture as for the training, by the shipped code if it can: uint8 [H, W, C]. ValueError for a broken one."""
        if hasattr(self.served, "decode") and "preparation" in self.served.facts:
            pixels: np.ndarray = self.served.decode(data)
            return pixels
        return decode_picture(data, self.preparation)

    def inputs(self, data: bytes) -> dict[str, np.ndarray]:
        """Return the model's inputs for a picture, without the axis N: its image, and its size if the boxes need it."""
        image = {"image": self.decode(data)}
        return image | {"size": np.array(self.served.size_of(data))} if hasattr(self.served, "size_of") else image


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
    detector, finds = facts.get("detector"), finds_objects(folder)
    if not detector and not finds:
        steps = f"`python -m flows run --runs {run}`, `python -m flows promote {run}`"
        how = f"give the run a block of `detect` with `serve: vim` and link what it serves to the export, then {steps}"
        raise ValueError(f"{name}: its champion, version {version.version}, ships no detector of strange images; {how}")
    prepared, prepared_by = preparation(workspace, run, entries, facts)
    _check_pixels(name, version, facts, prepared, prepared_by)
    if detector:
        reference = _reference(folder / "reference.npz")
    else:
        with reachable():
            reference = reference_scores(client, version, workspace, run)
    return Champion(
        name=name,
        version=int(version.version),
        key=str(version.tags.get(registry.KEY, "")),
        detector=detector["name"] if detector else NAME,
        # The graph compares in float32.
        threshold=float(np.float32(detector["threshold"])) if detector else threshold_of(reference),
        reference=reference,
        preparation=prepared,
        prepared_by=prepared_by,
        served=load_served(folder),
    )


def preparation(
    workspace: Workspace, run: str, entries: dict[str, Any] | None, facts: dict[str, Any]
) -> tuple[Preparation, str]:
    """Return how the version prepares pictures, and a text that says where that stands.

    An export says so itself. For those of earlier times it is the view in the version's lineage, or today's without a lineage.
    """
    if "preparation" in facts:
        return Preparation.from_json(facts["preparation"]), "the export"
    try:
        assert entries is not None
        view = entries[f"train@{run}"]["params"]["params.yaml"][f"runs.{run}.view"]
        block, words = entries[f"augment@{view}"]["params"]["params.yaml"][f"views.{view}"], f"view {view}, as in its lineage"
    except (AssertionError, KeyError, TypeError):
        view = workspace.params.runs[run].view
        block, words = workspace.params.views[view], f"view {view} as it is today: the version has no lineage"
    used = {key: block[key] for key in PREPARES if key in block}
    settings = parse(ViewSettings, {"dataset": "incoming", **used}, f"views.{view}")
    return settings.preparation, words


def _check_pixels(name: str, version: ModelVersion, facts: dict[str, Any], made: Preparation, prepared_by: str) -> None:
    expected, prepared = (*pair(facts["image_size"]), facts["channels"]), (*made.image_size, made.channels)
    if expected != prepared:
        sizes = "{0} x {1} pixels with {2} channel(s)"
        needs = f"{name}: version {version.version} takes {sizes.format(*expected)}"
        other = f"{prepared_by} makes {sizes.format(*prepared)}"
        raise ValueError(f"{needs}, but {other}; promote a version that was trained on it")


def _reference(path: Path) -> np.ndarray:
    with np.load(path, allow_pickle=False) as arrays:
        return np.asarray(arrays["ood_score"])
