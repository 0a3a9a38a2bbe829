"""The bound of images under a model that is wrong by a known amount: its terms in closed form."""

import math

import pytest
import torch
from torch import Tensor, nn

from components.diffusion.likelihood import mean_bound
from components.diffusion.model import ConditionalModel
from components.diffusion.objective import prior_kl
from components.diffusion.schedules import make_schedule

STEPS, DIMS = 50, 2
SCHEDULE = make_schedule("linear", STEPS)


class Bright(nn.Module):
    """Predicts as x_0 what the label says: 0.2 or 0.5."""

    def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        return torch.tensor([0.2, 0.5])[label].view(-1, 1, 1, 1).expand_as(x)


MODEL = ConditionalModel(Bright(), None, schedule="linear", num_steps=STEPS, target="x0")
X0 = torch.full((STEPS, 1, 1, DIMS), 0.2)


def bound(labels: list[int], draws: int, generator: torch.Generator | None = None):
    generator = generator or torch.Generator().manual_seed(0)
    return mean_bound(MODEL, X0[: len(labels)], {"label": torch.tensor(labels)}, draws, generator)


def test_an_error_costs_its_square_times_the_fall_of_snr() -> None:
    """As many images as steps: low discrepancy gives each step one of them, so the batch's mean is the sum over all steps."""
    first, last = SCHEDULE.log_snr(torch.tensor([1 / STEPS, 1.0], dtype=torch.float64)).exp().tolist()
    wrong = bound([1] * STEPS, draws=2)
    assert wrong.diffusion.mean().item() == pytest.approx(DIMS * 0.3**2 * (first - last) / 2, rel=1e-5)
    assert wrong.diffusion.std() > 0
    assert bound([0] * STEPS, draws=2).diffusion.abs().max() < 1e-6


def test_the_terms_are_told_apart_and_add_up_to_bits() -> None:
    found = bound([0, 0, 0], draws=4)
    end = SCHEDULE.log_snr(torch.ones(1, dtype=torch.float64))
    assert {term.dtype for term in (found.reconstruction, found.prior, found.diffusion)} == {torch.float64}
    torch.testing.assert_close(found.prior.float(), prior_kl(X0[:3], end))
    assert (found.reconstruction > 1).all(), "the table's first step hides 8 bits"
    torch.testing.assert_close(found.bits_per_dim(), (found.reconstruction + found.prior) / (DIMS * math.log(2)))


def test_the_least_noise_of_vdm_hides_no_level() -> None:
    """At log SNR 13.3 the 256 levels are 6 deviations apart: 0.06 nats each. One image: no dimension of 1 may get lost."""
    model = ConditionalModel(Bright(), None, schedule="vdm_fixed", num_steps=None, target="x0")
    x0 = torch.linspace(-1, 1, 256).view(1, 1, 16, 16)
    found = mean_bound(model, x0, {"label": torch.tensor([0])}, 1, torch.Generator().manual_seed(0))
    assert found.reconstruction.shape == (1,)
    assert 0 <= found.reconstruction.item() / 256 < 0.1
    assert found.num_dims == 256
    torch.testing.assert_close(found.prior.float(), prior_kl(x0, torch.tensor([-5.0], dtype=torch.float64)), rtol=1e-3, atol=0)


def test_draws_differ_and_are_averaged() -> None:
    one = torch.Generator().manual_seed(3)
    apart = [bound([1, 1, 0], 1, one).total() for _ in range(3)]
    assert not torch.equal(apart[0], apart[1])
    torch.testing.assert_close(bound([1, 1, 0], 3, torch.Generator().manual_seed(3)).total(), torch.stack(apart).mean(0))
