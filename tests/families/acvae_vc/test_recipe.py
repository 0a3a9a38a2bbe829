"""ACVAE-VC's losses against torch's distributions, and its translation."""

import pytest
import torch
from families.tiny import Tiny, scattered
from torch.distributions import Normal, kl_divergence

from components.families.acvae_vc.recipe import divergence, gaussian_loss


@pytest.fixture
def tiny(tmp_path):
    torch.set_num_threads(1)
    return Tiny("acvae_vc", tmp_path)


def test_losses_are_those_of_normal_distributions():
    torch.manual_seed(0)
    mean, log_variance, x = torch.randn(3, 2, 4, 5).unbind(0)
    spread = torch.exp(0.5 * log_variance)
    constant = 0.5 * torch.log(torch.tensor(2 * torch.pi))
    expected = -Normal(mean, spread).log_prob(x).mean() - constant
    torch.testing.assert_close(gaussian_loss(x, mean, log_variance), expected)
    expected = kl_divergence(Normal(mean, spread), Normal(torch.zeros_like(mean), 1.0)).mean()
    torch.testing.assert_close(divergence(mean, log_variance), expected)


def test_a_picture_s_variance_is_at_most_1_and_its_translation_the_mean_by_the_voice_that_is_heard(tiny):
    recipe = scattered(tiny.build())
    image, label = tiny.batch(4)["image"], torch.eye(3)[[0, 1, 2, 0]]
    heard = recipe.model.classifier(image).softmax(1)
    latent, _ = recipe.model.encode(image, heard)
    mean, log_variance = recipe.model.decode(latent, label)
    assert log_variance.max() < 0
    torch.testing.assert_close(recipe.model(image, label), mean)
    other = recipe.model(image, label.roll(1, 1))
    assert not torch.allclose(other, mean)


def test_a_step_reports_every_term_of_the_objective(tiny):
    losses = tiny.build(divergence=0.0).training_step({"train": tiny.batch(6)}, 0)
    assert set(losses) == {"reconstruction", "divergence", "classification", "information"}
    assert float(losses["divergence"]) == 0
