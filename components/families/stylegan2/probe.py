"""Choose the next frozen network by a linear probe (Kumari et al. 2022, arXiv 2112.09130, section 3.3).

The network whose features a linear classifier best tells real from generated images by joins next: it sees what the generator
still gets wrong.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

DECAY, ITERATIONS = 1e-2, 100  # of the squared weights, over standardised features; of L-BFGS
LEAST = 1e-6  # standard deviation of a feature that is constant


def probe_accuracy(real: Tensor, fake: Tensor) -> float:
    """Accuracy of a logistic regression on features [n, F] of each kind: fitted to the even rows, measured on the odd ones."""
    features = torch.cat([real, fake]).double().cpu()
    label = torch.cat([torch.ones(len(real)), torch.zeros(len(fake))]).double()
    odd = torch.cat([torch.arange(len(real)), torch.arange(len(fake))]) % 2 == 1
    std, mean = torch.std_mean(features[~odd], 0)
    features = (features - mean) / std.clamp(min=LEAST)
    weight = fitted(features[~odd], label[~odd])
    logits = features[odd] @ weight[:-1] + weight[-1]
    return float(((logits > 0) == label[odd].bool()).double().mean())


@torch.enable_grad()
def fitted(features: Tensor, label: Tensor) -> Tensor:
    """Weights and bias [F + 1] of the logistic regression: cross-entropy and decay, by L-BFGS from 0."""
    weight = torch.zeros(features.shape[1] + 1, dtype=features.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        logits = features @ weight[:-1] + weight[-1]
        loss = F.binary_cross_entropy_with_logits(logits, label) + DECAY * weight[:-1].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach()
