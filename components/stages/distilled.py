"""Checks, before any work, of a run that learns from a teacher: that its links, views and classes fit."""

from __future__ import annotations

from functools import partial
from typing import Any

from components.core.config.references import Link
from components.core.config.strict import SettingsError, collected, refuse
from components.core.settings import RunSettings, Workspace
from components.stages.buildable import build_without_memory
from components.stages.contents import known_contents

RECIPE = "classification"
TEACHER, UNLABELLED = "teacher", "unlabelled"  # roles of links at stage train


def check_distillation(workspace: Workspace, run: RunSettings) -> None:
    """Check the block ``train.distill`` and the links of a classification run; SettingsError with all faults."""
    if run.recipe != RECIPE:
        return
    named = {link.role: (name, link) for name, link in workspace.params.links.items() if _trains(link, run.name)}
    settings: Any = run.train.distill
    if settings is None:
        refuse(_unused(named, TEACHER, f"runs.{run.name}.train has no block distill"))
        return
    key = f"runs.{run.name}.train.distill"
    faults = [] if TEACHER in named else [f"{key}: needs a link at stage train of role {TEACHER}, to outputs/train/<run>"]
    if UNLABELLED in settings.on and UNLABELLED not in named:
        faults.append(f"{key}.on: {UNLABELLED} needs a link at stage train of role {UNLABELLED}, to outputs/views/<view>")
    if UNLABELLED not in settings.on:
        faults += _unused(named, UNLABELLED, f"{key}.on does not name it")
    checks = {TEACHER: _check_teacher, UNLABELLED: _check_unlabelled}
    refuse(faults + collected(*(partial(checks[role], workspace, run, *named[role]) for role in checks if role in named)))


def _trains(link: Link, run: str) -> bool:
    return (link.run, link.stage) == (run, "train")


def _unused(named: dict[str, tuple[str, Link]], role: str, why: str) -> list[str]:
    return [f"links.{named[role][0]}.role: {role!r} is not allowed: {why}"] if role in named else []


def _check_teacher(workspace: Workspace, run: RunSettings, name: str, link: Link) -> None:
    """Check that it is a classifier for pictures of this shape and, as far as its dataset tells before work, these classes."""
    key, parts = f"links.{name}.from", link.artifact.split("/")
    teacher = workspace.linked_runs(run.name, "train").get(TEACHER)
    if teacher is None or teacher.recipe != RECIPE or parts[1] != "train" or teacher.name == run.name:
        raise SettingsError(f"{key}: {link.artifact!r} is not allowed: a teacher is outputs/train/<another {RECIPE} run>")
    own, view = workspace.view(teacher.view), workspace.view(run.view)
    if own.channels != view.channels:
        raise SettingsError(f"{key}: the teacher takes {own.channels} channel(s), view {run.view!r} has {view.channels}")
    if own.shown != view.shown:
        _check_size(key, teacher, own, view)
    classes = [_classes(workspace, v.dataset) for v in (own, view)]
    if None not in classes and classes[0] != classes[1]:
        differing = ", ".join(sorted((classes[0] or set()) ^ (classes[1] or set()))[:8])
        raise SettingsError(f"{key}: the teacher has other classes than view {run.view!r}; only one of them has: {differing}")


def _check_size(key: str, teacher: RunSettings, own: Any, view: Any) -> None:
    """Run the teacher's network, without memory, on a picture of the student's size."""
    import torch

    network = build_without_memory(teacher.model, own, f"runs.{teacher.name}.model").eval()
    try:
        network(torch.empty(1, view.channels, *view.shown, device="meta"))
    except (ValueError, RuntimeError, AssertionError):
        sizes = [" x ".join(map(str, v.shown)) for v in (own, view)]
        fault = f"{teacher.model.name} of run {teacher.name!r} takes pictures of {sizes[0]} alone, and these have {sizes[1]}"
        raise SettingsError(f"{key}: {fault}") from None


def _check_unlabelled(workspace: Workspace, run: RunSettings, name: str, link: Link) -> None:
    """Check that it is a view of pictures of this shape, whose classes are unknown or not to be read."""
    from components.stages.checks import check_fits

    key, parts = f"links.{name}.from", link.artifact.split("/")
    if parts[:2] != ["outputs", "views"]:
        raise SettingsError(f"{key}: {link.artifact!r} is not allowed: unlabelled pictures are outputs/views/<view>")
    view = workspace.view(parts[2])
    check_fits(key, view, workspace.view(run.view))
    classes = _classes(workspace, view.dataset) or set()
    if len(classes) > 1 and run.train.distill.labels == "refuse":
        fault = f"view {parts[2]!r} has labels of {len(classes)} classes"
        raise SettingsError(f"{key}: {fault}; runs.{run.name}.train.distill: {{labels: ignore}} leaves them unread")


def _classes(workspace: Workspace, dataset: str) -> set[str] | None:
    """Return the names of a dataset's classes; None if only fetching tells them."""
    contents = known_contents(workspace, dataset)
    return None if contents is None else {name for names in contents.values() for name in names}
