"""Cross references in params.yaml (links, detectors, out-of-distribution views) and the check that their targets exist."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from components.core.config.needs import KINDS, Faults, spread
from components.core.config.seeds import check_seed_link, check_seeds, is_seed_link
from components.core.config.strict import Name, SettingsError, Strict, collected, must_exist, refuse
from components.core.weights.formats import format_of

if TYPE_CHECKING:
    from components.core.config.params import Params

TAKEN_ROLES = ("main", "run")  # the run's own view; the placeholder file in a folder of links
TAKEN_VIEWS = ("inside", "near", "far")  # in outputs/ood/<name>: the own view's scores; rows of means
Names = Mapping[str, set[str]]  # kind -> the names of its blocks, also of those with faults
FROZEN_ROLES = (
    "teacher",
    "backbone",
    "backbone_2",
    "backbone_3",
)  # of train links to other runs' networks, not trained further
DETECTOR = "detector"  # the role, at stage export, of what a ``detect`` block serves


class Link(Strict):
    """An edge from an artifact to a run, stored as the pointer file ``outputs/links/<run>/<stage>/<role>``.

    At stage "export" the artifact is copied to the export's ``linked/<role>``; a detector becomes a part of its graph.
    """

    run: Name = Field(description="the run that takes it")
    stage: Literal["train", "export", "evaluate"] = Field(description="the stage that takes it")
    role: Name = Field(description="what it is to the run; the recipe names the roles that it takes")
    artifact: str = Field(
        alias="from", min_length=1, description="outputs/{views,train,export}/<name>, outputs/detect/<name>/served, or a file"
    )


class Ood(Strict):
    """An out-of-distribution view, to be scored by the detectors of the block ``detect.<detect>``."""

    moved: ClassVar[dict[str, str]] = {"run": "an entry names a block of `detect` now: `detect: <name>`, which names the run"}

    detect: Name = Field(description="the block of `detect` whose detectors score it")
    view: Name = Field(description="the view to score")
    kind: Literal["near", "far"] = Field(description="near to the training data or far from it, for the averages")
    split: Literal["train", "validation", "test", "all"] = Field(default="all", description="the split to score, or all")


def check_references(params: Params, raw: Mapping[str, Any], faults: Faults) -> None:
    """Note in ``faults`` each block that refers to a missing block, or writes to the place of another one in ``outputs/``.

    A block that needs one with faults has none of its own, and is noted with an empty list.
    """
    names = {kind: set(map(str, raw.get(kind, {}))) for kind in KINDS}
    checks = {"views": _check_view, "runs": _check_run, "detect": _check_detect, "links": _check_link, "ood": _check_ood}
    for index, run in enumerate(params.pipeline.runs or ()):
        if lines := collected(partial(must_exist, run, names["runs"], f"pipeline.runs.{index}")):
            faults.setdefault("pipeline", []).extend(lines)
    for kind, check in checks.items():
        for name in getattr(params, kind):
            if lines := collected(partial(check, name, params, names)):
                faults[f"{kind}.{name}"] = lines
    spread(raw, faults)


def _check_view(name: str, params: Params, names: Names) -> None:
    must_exist(str(params.views[name].get("dataset")), names["datasets"], f"views.{name}.dataset")


def _check_run(name: str, params: Params, names: Names) -> None:
    must_exist(params.runs[name].view, names["views"], f"runs.{name}.view")
    check_seeds(params, name)


def _check_detect(name: str, params: Params, names: Names) -> None:
    """Check that each run has at most one detect block, on its own view; for other settings: ``stages.detect.settings``."""
    run, view = (str(params.detect[name].get(key)) for key in ("run", "view"))
    must_exist(run, names["runs"], f"detect.{name}.run")
    if (first := next(other for other, block in params.detect.items() if block.get("run") == run)) != name:
        raise SettingsError(f"detect.{name}.run: run {run!r} has detect.{first} already; a run has one such block at most")
    if run in params.runs and view != params.runs[run].view and params.runs[run].view in names["views"]:
        fault = f"detect.{name}.view: {view!r} is not allowed: detectors are fitted on the view of the run"
        raise SettingsError(f"{fault}; of {run!r} it is {params.runs[run].view!r}")


def _check_link(name: str, params: Params, names: Names) -> None:
    link = params.links[name]
    must_exist(link.run, names["runs"], f"links.{name}.run")
    _check_detector(name, link, params, names)
    _check_artifact(link.artifact, names, f"links.{name}.from")
    check_seed_link(params, name)
    if link.role in TAKEN_ROLES:
        raise SettingsError(f"links.{name}.role: {link.role!r} is not allowed: the pipeline uses this name itself")
    target = (link.run, link.stage, link.role)
    first = next(other for other, it in params.links.items() if (it.run, it.stage, it.role) == target)
    if first != name:
        raise SettingsError(f"links.{name}: the role {link.role!r} of run {link.run!r} is taken by links.{first}")


def _check_ood(name: str, params: Params, names: Names) -> None:
    entry = params.ood[name]
    must_exist(entry.detect, names["detect"], f"ood.{name}.detect")
    must_exist(entry.view, names["views"], f"ood.{name}.view")
    if entry.view in TAKEN_VIEWS:
        raise SettingsError(f"ood.{name}.view: {entry.view!r} is not allowed: the pipeline uses this name itself")
    target = (entry.detect, entry.view)
    first = next(other for other, it in params.ood.items() if (it.detect, it.view) == target)
    if first != name:
        raise SettingsError(f"ood.{name}: the view {entry.view!r} of detect.{entry.detect} is taken by ood.{first}")
    own = params.detect.get(entry.detect, {})
    if entry.view == own.get("view") and entry.split in ("train", "all"):
        raise SettingsError(f"ood.{name}.view: {entry.view!r} is what run {own.get('run')!r} is trained on")


def _check_detector(name: str, link: Link, params: Params, names: Names) -> None:
    """Check that only the role ``detector`` at stage export points to a detector, and to one of the run's own block."""
    key, match = f"links.{name}.from", re.fullmatch(r"outputs/detect/([^/]+)/served", link.artifact)
    is_detector = (link.stage, link.role) == ("export", DETECTOR)
    if not is_detector and link.artifact.startswith("outputs/detect/"):
        raise SettingsError(f"{key}: {link.artifact!r} is not allowed: it is for the role {DETECTOR!r} at stage export alone")
    if not is_detector:
        return
    if match is None:
        raise SettingsError(f"{key}: {link.artifact!r} is not allowed: a detector is outputs/detect/<name>/served")
    must_exist(match[1], names["detect"], key)
    block = params.detect.get(match[1], {"run": link.run, "serve": ""})
    if block.get("run") != link.run:
        fault = f"{key}: {link.artifact!r} is not allowed: its detectors are fitted to run {block.get('run')!r}"
        raise SettingsError(f"{fault} and say nothing of {link.run!r}")
    if block.get("serve") is None:
        raise SettingsError(f"{key}: {link.artifact!r} holds no detector; name one in detect.{match[1]}.serve")


def _check_artifact(path: str, names: Names, key: str) -> None:
    """Check that ``outputs/<kind>/<name>`` names a block; any other path is the user's file: ``check_links``."""
    match = re.fullmatch(r"outputs/([^/]+)/([^/]+)", path)
    if match is None:
        return
    kinds = {"views": names["views"], "train": names["runs"], "export": names["runs"]}
    must_exist(match[1], kinds, f"{key} (outputs/<kind>)")
    must_exist(match[2], kinds[match[1]], key)


def check_links(params: Params, folder: Path, run: str, roles: Mapping[str, tuple[str, ...]]) -> None:
    """Check that each link of the run points to a view or has a role of its recipe, and that the user's files can be read."""
    own = {name: link for name, link in params.links.items() if link.run == run}
    refuse(collected(*(partial(_check_role, name, link, params.runs[run].recipe, folder, roles) for name, link in own.items())))


def _check_role(name: str, link: Link, recipe: str, folder: Path, roles: Mapping[str, tuple[str, ...]]) -> None:
    if is_seed_link(link):
        return
    allowed = roles.get(link.stage, ())
    if not link.artifact.startswith("outputs/views/") and link.role not in allowed:
        fault = f"links.{name}.role: {link.role!r} is not allowed: a {recipe} run"
        takes = f"takes {', '.join(allowed)} and views" if allowed else "takes views alone"
        raise SettingsError(f"{fault} {takes} at stage {link.stage}")
    if not link.artifact.startswith("outputs/") and not (folder / link.artifact).exists():
        raise SettingsError(f"links.{name}.from: {link.artifact!r} does not exist in {folder}")
    if link.role == "init" and link.artifact.startswith("outputs/export/"):
        trained = link.artifact.replace("/export/", "/train/")
        raise SettingsError(f"links.{name}.from: {link.artifact!r} holds no weights to start from; {trained!r} does")
    if link.role.startswith("init") and (folder / link.artifact).is_file():
        try:
            format_of(folder / link.artifact)
        except ValueError as error:
            raise SettingsError(f"links.{name}.from: {error}") from None
