"""What leaves training: the ONNX graph of the denoiser, the facts of the served code, its signature and an example."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from components.core.batch import Batch, ViewFacts, to_pixels
from components.core.recipe import Exportable, Graph
from components.diffusion.conditions import NO_LABEL, texts_of
from components.diffusion.model import Positional
from components.diffusion.objective import diffuse, times_of
from components.families.diffusion.settings import Conditions

if TYPE_CHECKING:
    from components.families.diffusion.recipe import Diffusion

INPUTS = {"label": "label", "text": "tokens", "image": "low_resolution"}  # input of the served model -> condition
DEFAULT_STEPS = 20  # of the sampler, if the schedule has as many


def exportable(recipe: Diffusion) -> Exportable:
    """Denoiser as a graph for others to sample with, and its weights for the served code, which samples in torch."""
    view, conditions = recipe.view, recipe.conditions
    denoiser = Positional(recipe.model, conditions.names())
    return Exportable(
        graphs={"model": Graph(denoiser, lambda batch: graph_inputs(recipe, batch), ("prediction",))},
        facts=facts(recipe),
        signature=signature(view, conditions, recipe.settings.noise.num_steps),
        example=lambda batch: example(recipe.condition(batch), batch, view, conditions),
        weights=dict(recipe.model.state_dict()),
    )


def graph_inputs(recipe: Diffusion, batch: Batch) -> dict[str, Tensor]:
    """x_t of real images at times from early to late, the time input, and the conditions in order."""
    x0, schedule = batch["image"], recipe.model.schedule
    count = x0.shape[0]
    t = times_of((torch.arange(count) + 0.5) / count, recipe.settings.noise.num_steps, schedule.start)
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(count))
    x = diffuse(x0, eps, schedule.log_snr(t).detach())
    return {"x": x, "time": schedule.time_input(t).detach().float(), **recipe.condition(batch)}


def facts(recipe: Diffusion) -> dict[str, Any]:
    """Data, noise, target, conditions and network options, as the served code reads them."""
    view, conditions = recipe.view, recipe.conditions
    classes = view.classes.get("label", ())
    options = conditions.network_options(view.image_size, view.channels, len(classes)) | recipe.options.options
    return {
        "image_size": view.image_size,
        "channels": view.channels,
        "classes": list(classes),
        "noise": recipe.settings.noise.model_dump(),
        "target": recipe.settings.target,
        "conditions": conditions.model_dump(),
        "network": {"class": type(recipe.model.network).__name__, "options": options},
        "captions": conditions.text.encoder_options() if conditions.text else None,
    }


def signature(view: ViewFacts, conditions: Conditions, num_steps: int | None) -> dict[str, Any]:
    """Inputs, outputs and params. An unconditional model has ``label`` too: -1, or the class that a classifier guides to."""
    size, channels, low = view.image_size, view.channels, conditions.low_resolution
    side = size // low.factor if low else 0
    inputs = {
        "label": {"dtype": "int64", "shape": [-1]},
        "text": {"dtype": "str", "shape": [-1]},
        "image": {"dtype": "uint8", "shape": [-1, side, side, channels]},
    }
    names = [name for name, key in INPUTS.items() if key in (conditions.names() or ("label",))]
    return {
        "inputs": [{"name": name, **inputs[name]} for name in names],
        "outputs": [{"name": "image", "dtype": "uint8", "shape": [-1, size, size, channels]}],
        "params": [
            {"name": "sampler", "dtype": "str", "default": "dpm_solver_2m"},
            {"name": "steps", "dtype": "int64", "default": min(DEFAULT_STEPS, num_steps or DEFAULT_STEPS)},
            {"name": "guidance_scale", "dtype": "float64", "default": 1.0},
            {"name": "guidance", "dtype": "str", "default": "free"},
            {"name": "interval_start", "dtype": "float64", "default": 0.0},
            {"name": "interval_end", "dtype": "float64", "default": 1.0},
            {"name": "eta", "dtype": "float64", "default": 0.0},
            {"name": "clip", "dtype": "bool", "default": True},
            {"name": "seed", "dtype": "int64", "default": 0},
            {"name": "first", "dtype": "int64", "default": 0},
            *([{"name": "from_base", "dtype": "bool", "default": False}] if low else []),
        ],
    }


def example(condition: dict[str, Tensor], batch: Batch, view: ViewFacts, conditions: Conditions) -> dict[str, np.ndarray]:
    """Inputs of ``predict`` that correspond to the images of a batch and their ``condition``."""
    if not condition:
        return {"label": np.full(batch["image"].shape[0], NO_LABEL, np.int64)}
    inputs = {"label": condition["label"].numpy()} if "label" in condition else {}
    if conditions.text:
        inputs["text"] = np.array(texts_of(condition["tokens"]))
    if "low_resolution" in condition:
        inputs["image"] = to_pixels(condition["low_resolution"])
    return inputs
