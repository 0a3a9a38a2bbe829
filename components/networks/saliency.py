"""Saliency of a classifier: which part of an image its answer rests on. Maps are float32 [N, h, w] in [0, 1]."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def saliency(classifier: nn.Module, image: Tensor, label: Tensor) -> tuple[str, Tensor]:
    """(method, maps): attention rollout of a transformer, Grad-CAM of class ``label`` [N] of any other network.

    ``classifier``: image [N, C, H, W] -> (logits [N, K], features). A transformer is a module in it with ``attentions`` and
    ``grid``, (rows, columns) of its patches. ValueError for a network that has neither attention nor feature maps, or that says
    in ``saliency_fault`` why it has none.
    """
    if fault := next(filter(None, (getattr(module, "saliency_fault", "") for module in classifier.modules())), ""):
        raise ValueError(fault)
    transformer: Any = next((module for module in classifier.modules() if hasattr(module, "attentions")), None)
    if transformer is None:
        return "Grad-CAM", grad_cam(classifier, image, label)
    inputs: list[Tensor] = []
    handle = transformer.register_forward_pre_hook(lambda module, arguments: inputs.append(arguments[0]))
    try:
        with torch.no_grad():
            classifier(image)
    finally:
        handle.remove()
    rollout = attention_rollout(transformer.attentions(inputs[0]))
    return "attention rollout", scaled(rollout.unflatten(1, transformer.grid))


def grad_cam(classifier: nn.Module, image: Tensor, label: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391, eq. 1 and 2) of class ``label`` [N] on the last feature maps.

    The last maps are the last output [N, D, h, w] of a module with more than one pixel. ValueError if there is none.
    """
    with torch.enable_grad(), _last_maps(classifier) as maps:
        logits, _ = classifier(image.detach().clone().requires_grad_(True))
        if not maps:
            raise ValueError("Grad-CAM needs a network with feature maps")
        (gradient,) = torch.autograd.grad(logits.gather(1, label[:, None]).sum(), maps[-1])
    weights = gradient.mean((2, 3), keepdim=True)  # alpha_k^c: [N, D, 1, 1]
    return scaled((weights * maps[-1].detach()).sum(1).relu())


@contextmanager
def _last_maps(network: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the outputs [N, D, h, w] of all modules with h * w > 1, in the order of the forward pass."""
    maps: list[Tensor] = []

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() == 4 and output.shape[2] * output.shape[3] > 1:
            maps[:] = [output]

    handles = [module.register_forward_hook(note) for module in network.modules()]
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()


def attention_rollout(attentions: list[Tensor]) -> Tensor:
    """Attention rollout (Abnar and Zuidema 2020, arXiv 2005.00928, section 3): from the class token to the patches, [N, T - 1].

    ``attentions``: of each block [N, heads, T, T], rows sum to 1, the class token first. The residual connection is half of
    each step: A = (mean over heads + I) / 2.
    """
    rollout = torch.eye(attentions[0].shape[-1])
    for attention in attentions:
        rollout = (attention.mean(1) + torch.eye(attention.shape[-1])) / 2 @ rollout
    return rollout[:, 0, 1:]


def scaled(maps: Tensor) -> Tensor:
    """Scale each map [N, h, w] to [0, 1], its smallest value to 0 and its largest to 1; a constant map becomes 0."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / torch.where(high > low, high - low, torch.ones_like(high))
