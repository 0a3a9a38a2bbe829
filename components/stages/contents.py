"""What is known of a dataset before it is fetched: its splits and classes, for checks before anything starts."""

from __future__ import annotations

from collections.abc import Mapping

from components.core import catalogue
from components.core.config.strict import SettingsError
from components.core.settings import Workspace

Contents = Mapping[str, tuple[str, ...]]  # split, or "all" -> class names
LABELLED = ("classification", "noisy_classifier")  # recipes that learn classes


def known_contents(workspace: Workspace, dataset: str) -> Contents | None:
    """Ask the dataset's source; None if it only knows after fetching. SettingsError for files that it cannot read."""
    settings = workspace.dataset(dataset)
    source = catalogue.load("source", settings.source, f"datasets.{dataset}.source")
    if not hasattr(source, "contents"):
        return None
    try:
        contents: Contents | None = source.contents(settings, workspace.folder)
    except ValueError as error:
        raise SettingsError(f"datasets.{dataset}.path: {error}") from None
    return contents


def check_contents(workspace: Workspace, name: str) -> None:
    """Check that a classifier's dataset has two classes at least, and that the view has the split of the evaluation."""
    run = workspace.block("runs", name)
    view = workspace.view(run.view)
    contents = known_contents(workspace, view.dataset)
    if contents is None or getattr(view.split, "folds", None) is not None:
        return
    classes = sorted({name for names in contents.values() for name in names})
    if run.recipe in LABELLED and len(classes) == 1:
        raise SettingsError(f"datasets.{view.dataset}.path: one class alone, {classes[0]!r}; a classifier needs at least 2")
    divided = {name for name in ("validation", "test") if getattr(view.split, name) is not None}
    splits = ({*contents} - {"all"} or {"train"}) | divided
    needs = {"evaluate.split": (run.evaluate.get("split", "test"), "")}
    if run.train.get("select") == "best" or run.train.get("patience") or run.train.get("validate_every"):
        needs["train"] = ("validation", "the validation curve reads a split that ")
    if run.evaluate.get("tpr_at_fpr"):
        needs["evaluate.tpr_at_fpr"] = ("validation", "its threshold is chosen on a split that ")
    if run.export.get("quantise") == "static":
        needs["export.quantise"] = ("validation", "static is calibrated on the split validation, which ")
    for key, (split, reason) in needs.items():
        if split not in splits:
            hint = f"; views.{run.view}.split: {{{split}: 0.2}} divides it" if "all" in contents else ""
            fault = f"runs.{name}.{key}: {reason or repr(split) + ' '}is not in view {run.view!r}"
            raise SettingsError(f"{fault}, which has {', '.join(sorted(splits))}{hint}")
