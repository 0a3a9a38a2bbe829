"""Read the published weights of DETR and Conditional DETR, whose names ours are, but for the backbone's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from components.families.detr.network.backbone import fit_backbone
from components.networks.published import ClassNames, Fit, below

BODY, OURS = "backbone.0.body.", "backbone."
OWN = {
    "label_embed": "the file has no denoising queries",
    "anchor_embed": "the file has no denoising queries",
    "finer_proj": "the file has one level",
    "level_embed": "the file has one level",
}
CONDITIONAL = "transformer.decoder.ref_point_head.layers.0.weight"


def fit_detector(model: Any, state: Mapping[str, Tensor], names: ClassNames | None) -> Fit:
    """Fit a file: other classes start fresh, of more queries the first are taken, what only ours has starts fresh.

    ValueError for a file of the other decoder.
    """
    fit = Fit(model, {_renamed(name): tensor for name, tensor in state.items()}, names)
    if (CONDITIONAL in fit.state) != model.conditional:
        there = "conditional" if CONDITIONAL in fit.state else "plain"
        raise ValueError(f"the file has DETR's {there} decoder; model.decoder: {there} reads it")
    fit_backbone(fit, OURS)
    _fit_classes(fit, model)
    _fit_queries(fit, model.num_queries)
    for name, why in OWN.items():
        if below(name, fit.own) and not below(name, fit.state):
            fit.start_fresh(name, why)
        elif not below(name, fit.own):
            fit.leave_out(name, below(name, fit.state), "this model has none")
    return fit


def _renamed(name: str) -> str:
    return OURS + name.removeprefix(BODY) if name.startswith(BODY) else name


def _fit_classes(fit: Fit, model: Any) -> None:
    """Keep the class head, and the label embedding, only if the classes are the same."""
    others = 0 if model.conditional else 1  # the output "no object"
    found = fit.state["class_embed.bias"].numel() - others if "class_embed.bias" in fit.state else 0
    fit.fit_classes("class_embed", found, model.num_classes)
    table = fit.state.get("label_embed.weight")
    if table is not None and model.denoises and table.shape != fit.own["label_embed.weight"].shape:
        fit.start_fresh("label_embed", f"the file has {table.shape[0] - 1} classes, this view {model.num_classes}")


def _fit_queries(fit: Fit, number: int) -> None:
    """Take the first queries of a file with more; fewer are an error of their shape."""
    queries = fit.state.get("query_embed.weight")
    if queries is not None and queries.shape[0] > number:
        text = f"the file has {queries.shape[0]} queries, the first {number} are taken"
        fit.replace("query_embed.weight", queries[:number].clone(), "adapted", text)
