"""Defaults of the generative families' ``train`` blocks against the constants of their papers, source beside each."""

import pytest
import torch

from components.diffusion.schedules import linear_betas
from components.families.diffusion.settings import TrainSettings as Diffusion
from components.families.noisy_classifier.recipe import TrainSettings as NoisyClassifier
from components.families.pixelcnn.recipe import TrainSettings as PixelCNN

DDPM = {  # Ho et al. 2020, arXiv 2006.11239, for CIFAR-10
    "batch_size": 128,  # appendix B
    "learning_rate": 2e-4,  # appendix B, Adam
    "betas": (0.9, 0.999),  # appendix B: "standard values"
    "clip_norm": 1.0,  # its code, scripts/run_cifar.py: grad_clip=1.
    "schedule": "constant",  # its code: constant after warm-up
    "ema_decay": 0.9999,  # appendix B
    "target": "eps",  # eq. 14
    "weighting": "simple",  # eq. 14
    "min_snr_gamma": 5.0,  # Hang et al. 2023, arXiv 2303.09556
}
GUIDED_DIFFUSION = {  # Dhariwal & Nichol 2021, arXiv 2105.05233; README of guided-diffusion, "Training models"
    "batch_size": 256,  # --batch_size 256
    "learning_rate": 3e-4,  # --lr 3e-4
    "weight_decay": 0.05,  # --weight_decay 0.05, AdamW
    "schedule": "linear",  # --anneal_lr True
    "ema_decay": None,  # classifier_train.py keeps none
    "clip_norm": None,  # classifier_train.py clips nothing
}
PIXELCNN = {  # van den Oord et al. 2016, arXiv 1601.06759; pytorch-generative where the paper is silent
    "batch_size": 16,  # section 5.1, MNIST and CIFAR-10
    "learning_rate": 1e-3,  # pytorch-generative
    "betas": (0.9, 0.999),  # pytorch-generative: Adam's standard values
    "schedule": "constant",  # pytorch-generative: times 0.999977 per update, to which a constant is nearest
    "ema_decay": None,  # none
    "clip_norm": None,  # none
}


@pytest.mark.parametrize(
    ("settings", "paper"), [(Diffusion(), DDPM), (NoisyClassifier(), GUIDED_DIFFUSION), (PixelCNN(), PIXELCNN)]
)
def test_defaults_are_those_of_the_paper(settings, paper):
    assert {name: getattr(settings, name) for name in paper} == paper


@pytest.mark.parametrize("settings", [Diffusion(), NoisyClassifier()])
def test_the_default_noise_is_ddpm_s(settings):
    """Section 4: T = 1,000, beta from 1e-4 to 0.02."""
    assert (settings.noise.schedule, settings.noise.num_steps) == ("linear", 1000)
    betas = linear_betas(settings.noise.num_steps)
    assert (float(betas[0]), float(betas[-1])) == (1e-4, pytest.approx(0.02))
    assert torch.allclose(betas.diff(), betas.diff()[:1].expand(999))


def test_conditions_are_not_dropped_unless_asked():
    """DDPM has no guidance; Ho & Salimans (2022, arXiv 2207.12598) drop 10 %."""
    assert Diffusion().conditions.label_dropout == 0.0
