"""The trained network of a run, as used by the detectors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from components.core.artifact import Artifact, content_md5
from components.core.recipe import Detecting, Recipe
from components.core.runtime import set_threads
from components.core.settings import RunSettings, Workspace
from components.detectors.shared.protocol import Head
from components.stages.assemble import build_recipe, kept_links
from components.stages.views.view import View, open_view

NETWORK = "network"  # the pointer to the weights, beside the fitted detectors


@dataclass(frozen=True)
class Network:
    """``module``: image [n, C, H, W] in [-1, 1] -> (logits [n, K], features [n, F]), in eval mode; ``head``: its last layer."""

    module: nn.Module
    head: Head
    device: torch.device

    def logits(self, image: Tensor) -> Tensor:
        """Compute logits [n, K] of images on the device, differentiable."""
        logits: Tensor = self.module(image)[0]
        return logits

    @torch.no_grad()
    def predict(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Compute (features [n, F], logits [n, K]) of images on the device, float32."""
        logits, features = self.module(image)
        return features.float(), logits.float()


def weights_path(run: str) -> str:
    """Return the path of the run's weights in the workspace."""
    return f"outputs/train/{run}/weights.pt"


def trained_weights(workspace: Workspace, run: str) -> Artifact:
    """Return the current weights of the run."""
    path = workspace.folder / weights_path(run)
    return Artifact(path, content_md5(path))


def fitted_weights(workspace: Workspace, name: str) -> Artifact:
    """Return the weights that the block's detectors were fitted to. ValueError if they have been replaced since."""
    weights = Artifact.follow(workspace.folder / "outputs" / "detect" / name / "fitted" / NETWORK, workspace.folder)
    if content_md5(weights.path) != weights.md5:
        place = weights.path.relative_to(workspace.folder)
        raise ValueError(f"{place}: not the weights that the detectors were fitted to; run `dvc repro detect@{name}`")
    return weights


def load_recipe(workspace: Workspace, settings: RunSettings, view: View, weights: Artifact, device: torch.device) -> Recipe:
    """Build the run's recipe with its final ``weights``, in eval mode. ``view``: the run's own; only its facts are read."""
    links = kept_links(workspace, settings.name)
    views = {"main": view, **{role: open_view(link.path) for role, link in links.items() if link.is_view()}}
    recipe = build_recipe(settings, views, links)
    recipe.load_state_dict(weights.state_dict())
    recipe.to(device).eval().requires_grad_(False)
    return recipe


def network_of(recipe: Recipe, settings: RunSettings, device: torch.device) -> Network:
    """Return a classifier's network. ValueError if the weights of the last layer are not finite."""
    try:
        detection = cast("Detecting", recipe).detection()
    except ValueError as error:
        raise ValueError(f"runs.{settings.name}: {error}") from error
    return Network(detection.network, detection.head, device)


@contextmanager
def exact_arithmetic(threads: int) -> Iterator[None]:
    """Make arithmetic reproducible: fix ``threads`` also in NumPy's BLAS, whose sums depend on them.

    On CUDA: deterministic convolutions in full float32 (by default TF32).
    """
    from threadpoolctl import threadpool_limits

    set_threads(threads)
    with (
        threadpool_limits(threads, user_api="blas"),
        torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False),
    ):
        yield
