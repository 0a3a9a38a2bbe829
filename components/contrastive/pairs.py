"""The objective on the pairs of all processes, as the recipes on pictures and captions share it; their checks, optimizer."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from components.contrastive.objective import best_is_right, contrastive_losses, pairs_only, positives, sigmoid_losses
from components.contrastive.settings import PairSettings
from components.core.batch import Batch, Stream, ViewFacts
from components.core.settings import RunSettings
from components.core.step import gather, processes

NO_TEXT = "has no captions; a view with `text: {context_length: ...}` has, of a dataset with texts"


class Temperature(Protocol):
    """A network with the learnt temperature; ``logit_bias``: with SigLIP's loss alone."""

    logit_scale: Tensor
    logit_bias: Tensor


def stream(settings: PairSettings) -> Stream:
    """Return the stream of pairs."""
    columns = (settings.positives_column,) if settings.positives == "column" else ()
    return Stream(view="main", batch_size=settings.batch_size, columns=columns)


def objective(settings: PairSettings, network: Temperature, image: Tensor, text: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the loss of this process's rows, and the share of its images whose best caption is right.

    ``image``, ``text``: unit rows [n, D] of this process's pairs.
    """
    all_image, all_text, rank = gather(image), gather(text), processes()[0]
    positive = positive_pairs(settings, batch, slice(rank * len(image), (rank + 1) * len(image)), len(all_image))
    losses = pair_losses(settings, network, (image, text), (all_image, all_text), positive)
    return losses.mean(), best_is_right(image, all_text, positive).mean()


def pair_losses(
    settings: PairSettings,
    network: Temperature,
    own: tuple[Tensor, Tensor],
    everyone: tuple[Tensor, Tensor],
    positive: Tensor,
) -> Tensor:
    """Return the loss of each of this process's rows, [n]. ``own`` and ``everyone``: images and texts."""
    scale = network.logit_scale.exp()
    if settings.loss == "sigmoid":
        return sigmoid_losses(own[0], everyone[1], positive, scale, network.logit_bias)
    return contrastive_losses(*own, *everyone, positive=positive, scale=scale)


def positive_pairs(settings: PairSettings, batch: Batch, own: slice, number: int) -> Tensor:
    """Return which of all captions belong to this process's pictures, bool [n, N]."""
    if settings.positives == "pair":
        return pairs_only(number, own, batch["tokens"].device)
    column = gather(batch[settings.positives_column]) if settings.positives == "column" else None
    return positives(gather(batch["tokens"]), own, column)


def validation_figures(
    settings: PairSettings, network: Temperature, image: Tensor, text: Tensor, tokens: Tensor
) -> dict[str, Tensor]:
    """Loss of each pair among those of the batch, and whether the nearest caption, and picture, is right, [N] each."""
    positive = positives(tokens, slice(None))
    with torch.autocast(image.device.type, enabled=False):
        losses = pair_losses(settings, network, (image, text), (image, text), positive)
        found, back = best_is_right(image, text, positive), best_is_right(text, image, positive)
    return {"loss": losses, "image_to_text": found, "text_to_image": back}


def check_text(settings: RunSettings, view: Any) -> None:
    """ValueError for a view, as params.yaml has it, without captions."""
    if view.text is None:
        raise ValueError(f"view: {settings.view!r} {NO_TEXT}")


def check_columns(settings: RunSettings, view: ViewFacts) -> None:
    """ValueError for a view without captions, for classes without words, or words for no class of the view."""
    if view.context_length == 0:
        raise ValueError(f"view: {view.name!r} {NO_TEXT}")
    train, prompts = settings.train, settings.export
    if train.positives == "column" and train.positives_column not in view.classes:
        known = ", ".join(view.classes) or "none"
        raise ValueError(f"train.positives_column: view {view.name!r} has no column {train.positives_column!r}; it has {known}")
    if unknown := sorted(set(prompts.names) - set(view.classes.get(prompts.column, ()))):
        raise ValueError(f"export.names: {unknown[0]!r} is no class of the column {prompts.column!r} of view {view.name!r}")


def network_facts(view: ViewFacts, settings: PairSettings) -> dict[str, Any]:
    """Return the arguments of a network that follow from the view and the loss."""
    facts = {"image_size": view.image_size, "channels": view.channels, "num_tokens": view.vocabulary_size}
    facts |= {"context": view.context_length, "end_token": view.end_id, "padding": view.pad_id}
    return facts | {"sigmoid": settings.loss == "sigmoid"}


def facts_without_text(image_size: Any, channels: int) -> dict[str, Any]:
    """Return such arguments for a check of the network's sizes; those of the texts do not matter to it."""
    facts = {"image_size": image_size, "channels": channels, "num_tokens": 256, "context": 2}
    return facts | {"end_token": None, "padding": 0, "sigmoid": False}


def make_optimizer(network: nn.Module, settings: PairSettings) -> Optimizer:
    """Return AdamW with weight decay for all but gains, biases and scalars (Radford et al. 2021, section 2.5)."""
    matrices = {name for name, parameter in network.named_parameters() if parameter.dim() > 1 and not name.endswith("bias")}
    decayed = [parameter for name, parameter in network.named_parameters() if name in matrices]
    rest = [parameter for name, parameter in network.named_parameters() if name not in matrices]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return AdamW(groups, lr=settings.learning_rate, betas=settings.betas, eps=settings.eps, fused=True)
