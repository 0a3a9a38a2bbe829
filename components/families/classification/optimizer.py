"""Optimizers of a classifier: AdamW or SGD, which parameters have weight decay, and learning rates by layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from components.core import catalogue
from components.networks.encoders import is_decayed

if TYPE_CHECKING:
    from components.core.settings import RunSettings
    from components.families.classification.settings import TrainSettings


def make_optimizer(network: nn.Module, settings: TrainSettings) -> Optimizer:
    """The optimizer; decay for matrices and kernels alone, as is usual for both (biases, norms, tokens, positions: none)."""
    groups = parameter_groups(network, settings)
    if settings.optimizer == "sgd":
        nesterov = settings.momentum > 0
        return SGD(groups, lr=settings.learning_rate, momentum=settings.momentum, nesterov=nesterov, fused=True)
    return AdamW(groups, lr=settings.learning_rate, betas=(settings.momentum, 0.999), fused=True)


def parameter_groups(network: nn.Module, settings: TrainSettings) -> list[dict[str, Any]]:
    """Groups of parameters with the same weight decay and, with layer-wise decay, the same learning rate.

    Layer l of L has the rate ``learning_rate`` x ``layer_decay`` ^ (L - l): the head, L, has the whole rate (Clark et al. 2020,
    arXiv 2003.10555; Bao et al. 2022, arXiv 2106.08254; SimMIM, Xie et al. 2022, appendix A).
    """
    if settings.layer_decay == 1:
        return [_group(list(network.named_parameters()), decayed, settings) for decayed in (True, False)]
    layers: Mapping[str, int] = network.layer_ids()  # type: ignore[operator]
    last, groups = max(layers.values()), []
    for layer in range(last + 1):
        named = [(name, p) for name, p in network.named_parameters() if layers[name] == layer]
        rate = settings.learning_rate * settings.layer_decay ** (last - layer)
        parts = [_group(named, decayed, settings) | {"lr": rate} for decayed in (True, False)]
        groups += [part for part in parts if part["params"]]
    return groups


def _group(named: list[tuple[str, nn.Parameter]], decayed: bool, settings: TrainSettings) -> dict[str, Any]:
    params = [p for name, p in named if is_decayed(name, p) == decayed]
    return {"params": params, "weight_decay": settings.weight_decay if decayed else 0.0}


def check_layers(settings: RunSettings) -> None:
    """Raise ValueError if the run has layer-wise decay and a network without layers in a row."""
    network = catalogue.load("network", settings.model.name, "model.name")
    if settings.train.layer_decay < 1 and not hasattr(network, "layer_ids"):
        known = sorted(name for name in catalogue.names("network") if hasattr(catalogue.load("network", name, ""), "layer_ids"))
        fault = f"train.layer_decay: {settings.train.layer_decay} is not allowed: {settings.model.name} has no layers in a row"
        raise ValueError(f"{fault}; networks with layers: {', '.join(known)}")
