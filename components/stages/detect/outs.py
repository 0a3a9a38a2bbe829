"""Write the three outs of ``detect@<name>``."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from components.core.artifact import write_pointer
from components.core.files import write_arrays, write_json
from components.core.settings import Workspace
from components.stages.detect.inside import Inside
from components.stages.detect.network import NETWORK, weights_path
from components.stages.detect.places import Outs
from components.stages.detect.settings import DetectSettings


def write_network(workspace: Workspace, folder: Path, detection: DetectSettings) -> None:
    """Write the facts of the run's view and a pointer to its weights: the stage ``ood`` depends on ``folder`` only."""
    shutil.copyfile(workspace.folder / "outputs" / "views" / detection.view / "view.json", folder / "view.json")
    write_pointer(folder / NETWORK, workspace.folder, weights_path(detection.run))


def write_inside(folder: Path, detection: DetectSettings, scores: Inside, unfitted: dict[str, str]) -> None:
    """Write scores, thresholds, and the splits that they were computed on."""
    write_arrays(folder / "validation.npz", scores.validation)
    write_arrays(folder / "inside.npz", scores.inside)
    images = {"validation": _count(scores.validation), "inside": _count(scores.inside)}
    facts = {"tpr": detection.tpr, "thresholds": scores.thresholds, "images": images, "unfitted": unfitted}
    splits = {"validation_split": scores.validation_split, "inside_split": scores.inside_split}
    write_json(folder / "facts.json", facts | splits)


def _count(scores: dict[str, np.ndarray]) -> int:
    return len(next(iter(scores.values()), ()))


def write_served(outs: Outs, detection: DetectSettings, scores: Inside) -> None:
    """Write the served detector and the reference scores of the validation images; {} for no detector.

    A detector without fitted state has no safetensors file.
    """
    name, folder = detection.serve, outs.served
    if name is None:
        write_json(folder / "served.json", {})
        return
    state = outs.fitted / f"{name}.safetensors"
    if state.is_file():
        shutil.copyfile(state, folder / "detector.safetensors")
    write_arrays(folder / "reference.npz", {"ood_score": scores.validation[name].astype(np.float32)})
    facts = {"detector": name, "options": detection.options.get(name, {}), "threshold": scores.thresholds[name]}
    more = {"tpr": detection.tpr, "split": scores.validation_split}
    write_json(folder / "served.json", facts | more)
