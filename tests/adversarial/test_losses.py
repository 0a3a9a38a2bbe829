"""Adversarial losses by their closed forms, and their gradients' directions."""

import math

import pytest
import torch

from components.adversarial import losses

REAL, FAKE = torch.tensor([[2.0], [-1.0]]), torch.tensor([[0.5], [-3.0], [1.0]])


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(
    ("name", "of_real", "of_fake", "of_generator"),
    [
        ("logistic", lambda d: -math.log(sigmoid(d)), lambda d: -math.log(1 - sigmoid(d)), lambda d: -math.log(sigmoid(d))),
        ("least_squares", lambda d: (d - 1) ** 2, lambda d: d**2, lambda d: (d - 1) ** 2),
        ("wasserstein", lambda d: -d, lambda d: d, lambda d: -d),
    ],
)
def test_losses_are_their_formulas(name, of_real, of_fake, of_generator) -> None:
    judge = getattr(losses, f"{name}_critic" if name == "wasserstein" else f"{name}_discriminator")
    real, fake = REAL.flatten().tolist(), FAKE.flatten().tolist()
    wanted = mean([of_real(d) for d in real]) + mean([of_fake(d) for d in fake])
    assert judge(REAL, FAKE).item() == pytest.approx(wanted, rel=1e-5)
    assert getattr(losses, f"{name}_generator")(FAKE).item() == pytest.approx(mean([of_generator(d) for d in fake]), rel=1e-5)


def test_the_logistic_generator_still_learns_where_it_is_seen_through() -> None:
    """Its gradient is -1 where the discriminator is sure, and nothing overflows."""
    logits = torch.tensor([-200.0], requires_grad=True)
    losses.logistic_generator(logits).backward()
    assert logits.grad.item() == -1
    assert losses.logistic_discriminator(torch.tensor([-1e4]), torch.tensor([1e4])).item() == 2e4
