"""The outs of ``detect@<run>`` for a run of which no detector is asked: valid, empty, and written without torch."""

from __future__ import annotations

from components.core.settings import Workspace
from components.stages.detect.files import write_arrays, write_json
from components.stages.detect.places import fresh_outs


def is_asked(workspace: Workspace, run: str) -> bool:
    """Whether the run has other views, or serves a detector.

    For other views a file is asked that DVC has as a dependency, and not params.yaml: the first view makes the run's detectors
    be fitted, and a second one does not fit them again.
    """
    return has_other_views(workspace, run) or workspace.params.runs[run].export.get("detector") is not None


def has_other_views(workspace: Workspace, run: str) -> bool:
    """What components.stages.link.wire has noted: more than the run's name where there are views."""
    return (workspace.folder / "outputs" / "ood" / run / "run").read_text(encoding="utf-8").strip() != run


def write_nothing(workspace: Workspace, run: str) -> None:
    """No detectors, no scores, nothing served."""
    with fresh_outs(workspace, run) as outs:
        write_json(outs.fitted / "detectors.json", {"detectors": {}, "unfitted": {}})
        write_json(outs.inside / "facts.json", {"thresholds": {}, "unfitted": {}, "tpr": None})
        for name in ("validation", "inside"):
            write_arrays(outs.inside / f"{name}.npz", {})
        write_json(outs.served / "served.json", {})
    print(f"{run}: no detector is asked for")
