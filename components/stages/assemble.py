"""Build a run's recipe from its settings, its view and its links."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.core import catalogue
from components.core.artifact import Artifact
from components.core.config.references import FROZEN_ROLES
from components.core.config.strict import SettingsError
from components.core.recipe import Recipe
from components.core.runtime import mix
from components.core.settings import RunSettings, Workspace

if TYPE_CHECKING:
    from components.stages.views.view import View


def open_views(workspace: Workspace, settings: RunSettings, links: dict[str, Artifact]) -> dict[str, View]:
    """Open the views by role: "main", and every link to a view."""
    from components.stages.views.view import open_view

    main = open_view(workspace.folder / "outputs" / "views" / settings.view)
    return {"main": main, **{role: open_view(link.path) for role, link in links.items() if link.is_view()}}


def build_recipe(settings: RunSettings, views: dict[str, View], links: dict[str, Artifact]) -> Recipe:
    """Build the recipe at step 0, with initial weights drawn from the run's seed."""
    import torch

    cls: type[Recipe] = catalogue.load("recipe", settings.recipe, f"runs.{settings.name}.recipe")
    for view in views.values():
        refuse_rectangle(cls, view.facts.image_size, f"runs.{settings.name}: the image_size of view {view.facts.name!r}")
    torch.manual_seed(mix(settings.train.seed, "weights"))
    try:
        recipe = cls.build(settings, {role: view.facts for role, view in views.items()}, links)
        if hasattr(recipe, "weigh_classes"):
            recipe.weigh_classes(views["main"].class_counts)
    except ValueError as error:
        raise ValueError(f"runs.{settings.name}: {error}") from error
    return recipe


def refuse_rectangle(taker: Any, image_size: Any, key: str) -> None:
    """Raise SettingsError for an ``image_size`` of (height, width) if the recipe or network ``taker`` needs square images."""
    if not isinstance(image_size, int) and not getattr(taker, "takes_rectangles", False):
        raise SettingsError(f"{key}: {list(image_size)} is not allowed: {taker.__name__} takes square images only")


def is_start(role: str) -> bool:
    """Return whether a train link of this role points to initial weights, which are not read after the training."""
    return role == "init" or role.startswith("init_")


def is_for_training(role: str) -> bool:
    """Return whether only the training reads a train link of this role: initial weights, frozen networks, a second view."""
    return is_start(role) or role in (*FROZEN_ROLES, "unlabelled")


def kept_links(workspace: Workspace, run: str) -> dict[str, Artifact]:
    """Follow the run's train links that the stages after the training need."""
    pointers = {role: pointer for role, pointer in workspace.links(run, "train").items() if not is_for_training(role)}
    return {role: Artifact.follow(pointer, workspace.folder) for role, pointer in pointers.items()}


def trained_recipe(workspace: Workspace, settings: RunSettings) -> tuple[Recipe, dict[str, View]]:
    """Return (recipe in eval mode with its final weights, its views)."""
    links = kept_links(workspace, settings.name)
    views = open_views(workspace, settings, links)
    recipe = build_recipe(settings, views, links)
    weights = Artifact(workspace.folder / "outputs" / "train" / settings.name / "weights.pt", md5="")
    recipe.load_state_dict(weights.state_dict())
    recipe.eval()
    return recipe, views
