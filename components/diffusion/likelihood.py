"""The variational bound of images, averaged over draws of time and noise."""

from __future__ import annotations

import torch
from torch import Tensor

from .conditions import Condition
from .model import ConditionalModel
from .objective import Bound, draw_times, variational_bound


@torch.no_grad()
def mean_bound(model: ConditionalModel, x0: Tensor, condition: Condition, draws: int, generator: torch.Generator) -> Bound:
    """Average the bound of 8-bit images x0 [N, C, H, W] in [-1, 1] over ``draws``; each term is float64 [N]."""
    terms = [one_bound(model, x0, condition, generator) for _ in range(draws)]
    reconstruction, prior, diffusion = (torch.stack([draw[i] for draw in terms]).mean(0) for i in range(3))
    return Bound(reconstruction, prior, diffusion, x0[0].numel())


def one_bound(
    model: ConditionalModel, x0: Tensor, condition: Condition, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """(reconstruction, prior, diffusion) of one draw, float64 [N]; times are spread over the batch."""
    schedule, num_steps = model.schedule, model.schedule.num_steps
    eps, eps_start = (torch.randn(x0.shape, generator=generator).to(x0) for _ in range(2))
    t = draw_times(x0.shape[0], num_steps, generator, schedule.start).to(x0.device)
    bound = variational_bound(
        lambda x, time: model(x, time, condition),
        x0,
        eps,
        t,
        schedule,
        eps_start=eps_start,
        target=model.target,
        num_steps=num_steps,
    )
    return bound.reconstruction.double(), bound.prior.double(), bound.diffusion.double()
