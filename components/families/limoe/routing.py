"""Statistics of the routers over the batch of all processes, and the losses that are made of them.

Mustafa et al. 2022 (arXiv 2206.02770), section 2.2: local and global entropy per modality; Riquelme et al. 2021 (arXiv
2106.05974), appendix A: importance and load; Zoph et al. 2022 (ST-MoE, arXiv 2202.08906), eq. 5: z-loss.

Every statistic is a sum over the tokens of each pair, [n, k]. These rows are gathered, so that each process has those of all N
pairs, in order: means and entropies are of the whole batch, with the same sums for any number of processes.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from components.core.step import draw, gather, processes
from components.families.limoe.settings import WEIGHTS, TrainSettings
from components.networks.mixture_of_experts import Dispatch, Routed

Sums = dict[str, Tensor]  # name -> [N, k] of one mixture
MODALITIES = ("image", "text")


def dispatch_of(settings: TrainSettings, pairs: int, tokens: int, experts: int, *, seed: int, step: int) -> Dispatch:
    """Return how a process sends the ``tokens`` of each of its ``pairs`` at one step."""
    first = processes()[0] * pairs

    def noise(layer: int) -> Tensor:
        drawn = draw((pairs, tokens, experts), seed=seed, step=step, use=f"router {layer}")
        return settings.router_noise / experts * drawn

    return Dispatch(settings.capacity_factor, settings.groups, noise, gather, slice(first, first + pairs))


def sums_of(routed: Routed, seen: Tensor, patches: int, noise: float) -> Sums:
    """Return one mixture's sums over the tokens of each pair, [n, k]; the first ``patches`` tokens are an image's.

    ``noise``: deviation of the noise on the logits; with 0 there is no load.
    """
    log = routed.logits.log_softmax(-1)
    probability = log.exp()
    entropy = -(probability * log).sum(-1, keepdim=True)
    chosen = F.one_hot(routed.expert, probability.shape[-1]).to(log.dtype)
    own = {"probability": probability, "entropy": entropy, "chosen": chosen, "tokens": torch.ones_like(entropy)}
    own["dropped"] = (~routed.taken).to(log.dtype).unsqueeze(-1)
    found: Sums = {}
    for modality, part in zip(MODALITIES, (slice(None, patches), slice(patches, None)), strict=True):
        weight = seen[:, part, None].to(log.dtype)
        found |= {f"{modality}_{name}": (values[:, part] * weight).sum(1) for name, values in own.items()}
    weight = seen.unsqueeze(-1).to(log.dtype)
    found["z"] = (routed.logits.logsumexp(-1, keepdim=True).square() * weight).sum(1)
    if noise:
        found["load"] = (chances(routed, noise) * weight).sum(1)
    return found


def chances(routed: Routed, noise: float) -> Tensor:
    """Return the chance of each expert to be chosen if its noise were drawn again, [N, L, E]; V-MoE, ``routing.py``."""
    threshold = routed.noisy.amax(-1, keepdim=True)  # of the best one: one expert is chosen
    return 0.5 * torch.erfc((threshold - routed.logits) / noise / math.sqrt(2))  # 1 - Phi


def of_all_pairs(layers: list[Sums]) -> list[Sums]:
    """Gather the rows of all processes: [n, k] -> [N, k], by one exchange."""
    joined = torch.cat([rows for sums in layers for rows in sums.values()], dim=1)
    parts = iter(gather(joined).split([rows.shape[1] for sums in layers for rows in sums.values()], dim=1))
    return [{name: next(parts) for name in sums} for sums in layers]


def losses_of(sums: Sums, settings: TrainSettings) -> dict[str, Tensor]:
    """Return the losses of one mixture whose weight is not 0, without their weights."""
    return {name: loss_of(name, sums, settings) for name in WEIGHTS if getattr(settings, name)}


def loss_of(name: str, sums: Sums, settings: TrainSettings) -> Tensor:
    """Return one loss of a mixture, by the name of its weight."""
    if name == "importance":
        return variation(sums["image_probability"] + sums["text_probability"], settings.groups)
    if name == "load":
        return variation(sums["load"], settings.groups)
    if name == "z_loss":
        return sums["z"].sum() / (sums["image_tokens"].sum() + sums["text_tokens"].sum())
    modality, kind = name.split("_", maxsplit=1)
    probability, tokens = sums[f"{modality}_probability"], sums[f"{modality}_tokens"]
    if kind == "local_entropy":
        return sums[f"{modality}_entropy"].sum() / tokens.sum()
    least = math.log(settings.least(modality, probability.shape[1]))
    return (least - entropy_of_mean(probability, tokens)).clamp(min=0)


def entropy_of_mean(probability: Tensor, tokens: Tensor) -> Tensor:
    """Return H of the mean probabilities; ``probability`` [N, E] and ``tokens`` [N, 1] are sums of each pair."""
    mean = probability.sum(0) / tokens.sum()
    return -torch.special.xlogy(mean, mean).sum()


def variation(sums: Tensor, groups: int) -> Tensor:
    """Return the squared coefficient of variation over the experts of [N, E], the mean over the groups of pairs."""
    per_group = sums.unflatten(0, (groups, -1)).sum(1)
    return (per_group.var(1, correction=0) / per_group.mean(1).square()).mean()


def weighted(layers: list[Sums], settings: TrainSettings) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the losses summed over the mixtures: by their weights, and plain."""
    each = [losses_of(sums, settings) for sums in layers]
    plain = {name: torch.stack([losses[name] for losses in each]).sum() for name in (each[0] if each else ())}
    return {name: getattr(settings, name) * loss for name, loss in plain.items()}, plain


def figures(layers: list[Sums]) -> dict[str, Tensor]:
    """Return by modality the share of dropped tokens, and the experts in use: exp H of the choices, the least of mixtures."""
    found = {}
    for modality in MODALITIES if layers else ():
        dropped, tokens = (torch.stack([sums[f"{modality}_{name}"].sum() for sums in layers]) for name in ("dropped", "tokens"))
        found[f"{modality}_dropped"] = dropped.sum() / tokens.sum()
        used = [entropy_of_mean(sums[f"{modality}_chosen"], sums[f"{modality}_tokens"]).exp() for sums in layers]
        found[f"{modality}_experts_in_use"] = torch.stack(used).amin()
    return found
