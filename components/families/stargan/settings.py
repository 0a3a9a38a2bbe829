"""Settings of a ``stargan`` run, and checks of its settings, model and views."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from components.core.batch import ViewFacts
from components.core.config.strict import Strict
from components.core.recipe import Schedule
from components.core.settings import RunSettings
from components.families.stargan.labels import Labels
from components.translation.interface import Betas

STREAMS = {"train": "main", "second": "second"}  # role -> view; the order of the data sets in the label vector


class TrainSettings(Strict):
    """StarGAN's part of the ``train`` block; defaults are the paper's (arXiv 1711.09020, eq. 5, 6 and 8; Experiments)."""

    batch_size: int = Field(ge=2, description="per data set: a multiple of its domains, if it has domains; the paper's: 16")
    learning_rate: float = Field(default=1e-4, gt=0, description="Adam's, of both networks, at the top of the schedule")
    betas: Betas = Field(default=(0.5, 0.999), description="Adam's beta_1 and beta_2")
    schedule: Schedule = Field(default="constant_linear", description="of the learning rate")
    critic_steps: int = Field(default=5, ge=1, description="n_critic: the generator is updated at every n-th step")
    gradient_penalty: float = Field(default=10.0, ge=0, description="lambda_gp")
    classification: float = Field(default=1.0, ge=0, description="lambda_cls")
    reconstruction: float = Field(default=10.0, ge=0, description="lambda_rec")


class ExportSettings(Strict):
    """StarGAN's ``export`` block, for data sets with several attributes an image."""

    exclusive: tuple[tuple[str, ...], ...] = Field(
        default=(), description="groups of attributes of which an image has one, e.g. hair colours: a flip sets one of them"
    )

    def groups_among(self, names: list[str]) -> list[list[str]]:
        """Return the groups; ValueError for a name that is no attribute, or that stands in two groups."""
        listed = [name for group in self.exclusive for name in group]
        if unknown := [name for name in listed if name not in names]:
            raise ValueError(f"export.exclusive: {', '.join(unknown)} is not allowed: the attributes are {', '.join(names)}")
        if twice := sorted({name for name in listed if listed.count(name) > 1}):
            raise ValueError(f"export.exclusive: {', '.join(twice)} stands in it twice")
        return [list(group) for group in self.exclusive]


def check_run(settings: RunSettings, view: Any) -> None:
    """Raise ValueError("block.key: ...") if settings do not fit each other."""
    train = settings.train
    if settings.model.name != "stargan":
        raise ValueError(f"model.name: {settings.model.name!r} is no StarGAN; allowed: stargan")
    if train.compile:
        raise ValueError(
            "train.compile: true is not allowed: the penalty differentiates a gradient, and compiled networks cannot"
        )
    if train.steps < train.critic_steps:
        fault = f"train.steps: {train.steps} is not allowed: the generator is first updated at step {train.critic_steps}"
        raise ValueError(f"{fault} (train.critic_steps)")


def check_views(views: dict[str, ViewFacts]) -> None:
    """Raise ValueError unless a second data set has images of the same shape, and domains of its own."""
    main, second = views["main"], views.get("second")
    if strange := sorted(set(views) - set(STREAMS.values())):
        raise ValueError(f"links to views: {', '.join(strange)} is not a role that is trained on; allowed: second")
    if second is None:
        return
    shapes = [f"{view.image_size} x {view.image_size} x {view.channels}" for view in (main, second)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"link second: images of view {second.name!r} are {shapes[1]}, those of {main.name!r} {shapes[0]}")
    if both := sorted(set(Labels.of(main).names) & set(Labels.of(second).names)):
        fault = f"link second: {', '.join(both)} stands in both views, {main.name!r} and {second.name!r}"
        raise ValueError(f"{fault}; each data set has domains of its own: rename, or make one view of both")
