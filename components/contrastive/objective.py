"""The contrastive objectives, over the batch of all processes, and embedding in chunks.

Embeddings are unit rows. A process has n of the N pairs: ``image`` and ``text`` [n, D] are its own, ``all_image`` and
``all_text`` [N, D] those of all. ``positive`` bool [n, N]: which pairs belong together; it holds for pictures and texts alike.
The loss of a batch is the mean over its rows: of a process's own, and then over the processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

MAX_SCALE = 100.0  # Radford et al., section 2.5: "clipped to prevent scaling the logits by more than 100"
SCALE = math.log(1 / 0.07)  # section 2.5
SIGMOID_SCALE, SIGMOID_BIAS = math.log(10), -10.0  # Zhai et al. 2023, arXiv 2303.15343, section 3.2


def unit(rows: Tensor) -> Tensor:
    """Divide rows [N, D] by their norm, in float32 or float64."""
    return F.normalize(rows if rows.dtype == torch.float64 else rows.float(), dim=1)


def add_temperature(network: nn.Module, *, sigmoid: bool) -> None:
    """Add ``logit_scale``, the log of the inverse temperature; for SigLIP's loss from its start, and with ``logit_bias``."""
    network.logit_scale = nn.Parameter(torch.tensor(SIGMOID_SCALE if sigmoid else SCALE))
    if sigmoid:
        network.logit_bias = nn.Parameter(torch.tensor(SIGMOID_BIAS))


@torch.no_grad()
def clamp_scale(logit_scale: Tensor) -> None:
    """Keep the inverse temperature at 100 or below (section 2.5), after an update."""
    logit_scale.clamp_(max=math.log(MAX_SCALE))


def contrastive_losses(
    image: Tensor, text: Tensor, all_image: Tensor, all_text: Tensor, *, positive: Tensor, scale: Tensor
) -> Tensor:
    """Compute the symmetric cross-entropy (Radford et al. 2021, figure 3) of each row, [n].

    The target of a row is spread evenly over its positives: with one of them each this is the paper's.
    """
    target = positive.to(image.dtype) / positive.sum(1, keepdim=True)
    image_losses = F.cross_entropy(scale * image @ all_text.T, target, reduction="none")
    text_losses = F.cross_entropy(scale * text @ all_image.T, target, reduction="none")
    return (image_losses + text_losses) / 2


def sigmoid_losses(image: Tensor, all_text: Tensor, positive: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Compute SigLIP's loss (Zhai et al. 2023, arXiv 2303.15343, section 3.2) of each image, [n], summed over the texts."""
    logits = scale * image @ all_text.T + bias
    sign = 2 * positive.to(logits.dtype) - 1
    return -F.logsigmoid(sign * logits).sum(1)


def positives(captions: Tensor, own: slice, column: Tensor | None = None) -> Tensor:
    """Return bool [n, N]: pairs whose captions, int64 [N, T], are identical, or whose class in ``column`` int64 [N] is."""
    number = torch.unique(captions, dim=0, return_inverse=True)[1]
    same = number[own, None] == number[None]
    return same if column is None else same | (column[own, None] == column[None])


def pairs_only(number: int, own: slice, device: torch.device) -> Tensor:
    """Return bool [n, N]: each picture belongs to its own caption alone."""
    return torch.eye(number, dtype=torch.bool, device=device)[own]


def best_is_right(rows: Tensor, others: Tensor, positive: Tensor) -> Tensor:
    """Return 1.0 for each of ``rows`` [n, D] whose nearest of ``others`` [N, D] is a positive, else 0.0."""
    best = (rows.detach() @ others.detach().T).argmax(1, keepdim=True)
    return positive.gather(1, best).squeeze(1).float()


def kept_patches(uniforms: Tensor, rate: float) -> Tensor:
    """Choose the patches that stay, int64 [N, k], by uniforms [N, P] (Li et al. 2023, arXiv 2212.00794); at least one."""
    number = max(1, round(uniforms.shape[1] * (1 - rate)))
    return uniforms.argsort(1)[:, :number]


def in_chunks(encode: Callable[..., Tensor], chunk: int, *inputs: Tensor) -> Tensor:
    """Compute ``encode`` on chunks of the rows of ``inputs``, with the activations of one chunk in memory at a time.

    Equal to one call: the embeddings are computed without activations, the loss sees the whole batch, and each chunk is
    computed a second time, with the same random numbers, when its gradient arrives (Gao et al. 2021, arXiv 2101.06983).
    """
    parts = zip(*(rows.split(chunk) for rows in inputs), strict=True)
    return torch.cat([checkpoint(encode, *part, use_reentrant=False) for part in parts])
