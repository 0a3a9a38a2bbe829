"""A run's recipe from its settings, its view and its links."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.core.artifact import Artifact, follow_links
from components.core.recipe import Recipe
from components.core.runtime import mix
from components.core.settings import RunSettings, Workspace
from components.core.strict import SettingsError, resolve

if TYPE_CHECKING:
    from components.stages.augment.views import View


def open_views(workspace: Workspace, settings: RunSettings, links: dict[str, Artifact]) -> dict[str, View]:
    """role -> view: "main", and every link that leads to a view."""
    from components.stages.augment.views import open_view

    main = open_view(workspace.folder / "outputs" / "views" / settings.view)
    return {"main": main, **{role: open_view(link.path) for role, link in links.items() if link.is_view()}}


def build_recipe(settings: RunSettings, views: dict[str, View], links: dict[str, Artifact]) -> Any:
    """The recipe at step 0, its initial weights drawn from the run's seed."""
    import torch

    from components.families import RECIPES

    cls = resolve(RECIPES, settings.recipe, f"runs.{settings.name}.recipe")
    for view in views.values():
        refuse_rectangle(cls, view.facts.image_size, f"runs.{settings.name}: the image_size of view {view.facts.name!r}")
    torch.manual_seed(mix(settings.train.seed, "weights"))
    try:
        recipe: Recipe = cls.build(settings, {role: view.facts for role, view in views.items()}, links)
    except ValueError as error:
        raise ValueError(f"runs.{settings.name}: {error}") from error
    return recipe


def refuse_rectangle(taker: Any, image_size: Any, key: str) -> None:
    """ValueError for an ``image_size`` of (height, width) if the recipe or network ``taker`` takes square images only."""
    if not isinstance(image_size, int) and not getattr(taker, "takes_rectangles", False):
        raise SettingsError(f"{key}: {list(image_size)} is not allowed: {taker.__name__} takes square images only")


def trained_recipe(workspace: Workspace, settings: RunSettings) -> tuple[Any, dict[str, View]]:
    """(recipe in eval mode with its final weights, its views), after training. Starting weights are not read again."""
    links = {role: link for role, link in follow_links(workspace, settings.name, "train").items() if role != "init"}
    views = open_views(workspace, settings, links)
    recipe = build_recipe(settings, views, links)
    weights = Artifact(workspace.folder / "outputs" / "train" / settings.name / "weights.pt", md5="")
    recipe.load_state_dict(weights.state_dict())
    return recipe.eval(), views
