"""Optimizers of a classifier: AdamW or SGD, and which parameters have weight decay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

if TYPE_CHECKING:
    from components.families.classification.recipe import TrainSettings

UNDECAYED = frozenset({"pos_embed", "cls_token", "relative_position_bias_table", "logit_scale", "cpb_mlp"})  # parts of names


def make_optimizer(network: nn.Module, settings: TrainSettings) -> Optimizer:
    """The optimizer; decay for matrices and kernels alone, as is usual for both (biases, norms, tokens, positions: none)."""
    decayed = [p for name, p in network.named_parameters() if p.dim() > 1 and UNDECAYED.isdisjoint(name.split("."))]
    chosen = {id(p) for p in decayed}
    rest = [p for p in network.parameters() if id(p) not in chosen]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    if settings.optimizer == "sgd":
        nesterov = settings.momentum > 0
        return SGD(groups, lr=settings.learning_rate, momentum=settings.momentum, nesterov=nesterov, fused=True)
    return AdamW(groups, lr=settings.learning_rate, betas=(settings.momentum, 0.999), fused=True)
