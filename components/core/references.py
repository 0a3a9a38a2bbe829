"""Cross references in params.yaml (links, detectors, out-of-distribution views) and the check that their targets exist."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from components.core.seeds import check_seeds, is_seed_link
from components.core.strict import Name, SettingsError, Strict, must_exist

if TYPE_CHECKING:
    from components.core.params import Params

TAKEN_ROLES = ("main", "run")  # the run's own view; the placeholder file in a folder of links
TAKEN_VIEWS = ("inside", "near", "far")  # in outputs/ood/<name>: the own view's scores; rows of means
DETECTOR = "detector"  # the role, at stage export, of what a ``detect`` block serves


class Link(Strict):
    """An edge from an artifact to a run, stored as the pointer file ``outputs/links/<run>/<stage>/<role>``.

    At stage "export" the artifact is copied to the export's ``linked/<role>``; a detector becomes a part of its graph.
    """

    run: Name
    stage: Literal["train", "export", "evaluate"]
    role: Name
    artifact: str = Field(alias="from", min_length=1)


class Ood(Strict):
    """An out-of-distribution view, to be scored by the detectors of the block ``detect.<detect>``.

    ``kind``: "near" to the training data or "far" from it, for the averages; ``split``: the split to score, or all.
    """

    moved: ClassVar[dict[str, str]] = {"run": "an entry names a block of `detect` now: `detect: <name>`, which names the run"}

    detect: Name
    view: Name
    kind: Literal["near", "far"]
    split: Literal["train", "validation", "test", "all"] = "all"


def check_references(params: Params) -> None:
    """Check that every referenced block exists and that no two blocks write to the same place in ``outputs/``."""
    for index, run in enumerate(params.pipeline.runs):
        must_exist(run, params.runs, f"pipeline.runs.{index}")
    for name, view in params.views.items():
        must_exist(str(view.get("dataset")), params.datasets, f"views.{name}.dataset")
    for name, block in params.runs.items():
        must_exist(block.view, params.views, f"runs.{name}.view")
    _check_detect(params)
    _check_links(params)
    _check_ood(params)
    check_seeds(params)


def _check_detect(params: Params) -> None:
    """Check that each run has at most one detect block, on its own view; for other settings: ``stages.detect.settings``."""
    seen: dict[str, str] = {}
    for name, block in params.detect.items():
        run, view = str(block.get("run")), str(block.get("view"))
        must_exist(run, params.runs, f"detect.{name}.run")
        if run in seen:
            raise SettingsError(
                f"detect.{name}.run: run {run!r} has detect.{seen[run]} already; a run has one such block at most"
            )
        seen[run] = name
        if view != params.runs[run].view:
            fault = f"detect.{name}.view: {view!r} is not allowed: detectors are fitted on the view of the run"
            raise SettingsError(f"{fault}; of {run!r} it is {params.runs[run].view!r}")


def _check_links(params: Params) -> None:
    seen: dict[tuple[str, str, str], str] = {}
    for name, link in params.links.items():
        must_exist(link.run, params.runs, f"links.{name}.run")
        _check_detector(name, link, params)
        _exists_artifact(link.artifact, params, f"links.{name}.from")
        if link.role in TAKEN_ROLES:
            raise SettingsError(f"links.{name}.role: {link.role!r} is not allowed: the pipeline uses this name itself")
        target = (link.run, link.stage, link.role)
        if target in seen:
            raise SettingsError(f"links.{name}: the role {link.role!r} of run {link.run!r} is taken by links.{seen[target]}")
        seen[target] = name


def _check_ood(params: Params) -> None:
    seen: dict[tuple[str, str], str] = {}
    for name, entry in params.ood.items():
        must_exist(entry.detect, params.detect, f"ood.{name}.detect")
        must_exist(entry.view, params.views, f"ood.{name}.view")
        if entry.view in TAKEN_VIEWS:
            raise SettingsError(f"ood.{name}.view: {entry.view!r} is not allowed: the pipeline uses this name itself")
        target = (entry.detect, entry.view)
        if target in seen:
            raise SettingsError(f"ood.{name}: the view {entry.view!r} of detect.{entry.detect} is taken by ood.{seen[target]}")
        seen[target] = name
        own = params.detect[entry.detect]
        if entry.view == own["view"] and entry.split in ("train", "all"):
            raise SettingsError(f"ood.{name}.view: {entry.view!r} is what run {own['run']!r} is trained on")


def _check_detector(name: str, link: Link, params: Params) -> None:
    """Check that only the role ``detector`` at stage export points to a detector, and to one of the run's own block."""
    key, match = f"links.{name}.from", re.fullmatch(r"outputs/detect/([^/]+)/served", link.artifact)
    is_detector = (link.stage, link.role) == ("export", DETECTOR)
    if not is_detector and link.artifact.startswith("outputs/detect/"):
        raise SettingsError(f"{key}: {link.artifact!r} is not allowed: it is for the role {DETECTOR!r} at stage export alone")
    if not is_detector:
        return
    if match is None:
        raise SettingsError(f"{key}: {link.artifact!r} is not allowed: a detector is outputs/detect/<name>/served")
    must_exist(match[1], params.detect, key)
    block = params.detect[match[1]]
    if block["run"] != link.run:
        fault = f"{key}: {link.artifact!r} is not allowed: its detectors are fitted to run {block['run']!r}"
        raise SettingsError(f"{fault} and say nothing of {link.run!r}")
    if block.get("serve") is None:
        raise SettingsError(f"{key}: {link.artifact!r} holds no detector; name one in detect.{match[1]}.serve")


def _exists_artifact(path: str, params: Params, key: str) -> None:
    """Check that ``outputs/<kind>/<name>`` names a block; any other path is the user's file: ``check_links``."""
    match = re.fullmatch(r"outputs/([^/]+)/([^/]+)", path)
    if match is None:
        return
    kinds: dict[str, Any] = {"views": params.views, "train": params.runs, "export": params.runs}
    must_exist(match[1], kinds, f"{key} (outputs/<kind>)")
    must_exist(match[2], kinds[match[1]], key)


def check_links(params: Params, folder: Path, run: str, roles: Mapping[str, tuple[str, ...]]) -> None:
    """Check that each link of the run points to a view or has a role of its recipe, and that the user's files exist."""
    for name, link in params.links.items():
        if link.run != run or is_seed_link(link):
            continue
        allowed = roles.get(link.stage, ())
        if not link.artifact.startswith("outputs/views/") and link.role not in allowed:
            fault = f"links.{name}.role: {link.role!r} is not allowed: a {params.runs[run].recipe} run"
            takes = f"takes {', '.join(allowed)} and views" if allowed else "takes views alone"
            raise SettingsError(f"{fault} {takes} at stage {link.stage}")
        if not link.artifact.startswith("outputs/") and not (folder / link.artifact).exists():
            raise SettingsError(f"links.{name}.from: {link.artifact!r} does not exist in {folder}")
        if link.role == "init" and link.artifact.startswith("outputs/export/"):
            trained = link.artifact.replace("/export/", "/train/")
            raise SettingsError(f"links.{name}.from: {link.artifact!r} holds no weights to start from; {trained!r} does")
