"""Bounds of the families' settings: what is beyond trains to nothing, or fails later and elsewhere."""

import pytest
from pydantic import ValidationError

from components.families.classification import settings as classification
from components.families.classification.distillation import DistillSettings
from components.families.munit.recipe import TrainSettings as MUNIT
from components.families.munit.recipe import Weights as MUNITWeights
from components.families.noisy_classifier.recipe import NoiseSettings
from components.families.noisy_classifier.recipe import TrainSettings as NoisyClassifier
from components.families.pixelcnn.recipe import TrainSettings as PixelCNN
from components.families.simmim.recipe import TrainSettings as SimMIM
from components.families.stargan.settings import TrainSettings as StarGAN
from components.families.stargan_v2.settings import TrainSettings as StarGANv2
from components.families.unit.recipe import Weights as UNITWeights

LEAST = 1e-12
POSITIVE = ((LEAST,), (0,))  # (allowed, refused)
WEIGHT = ((0,), (-LEAST,))
COUNT = ((1,), (0,))
SHARE = ((LEAST, 1 - 1e-9), (0, 1))
PROBABILITY = ((0, 1), (-LEAST, 1 + 1e-9))
DECAYS = (((0, 0), (0.5, 1 - 1e-9)), ((-LEAST, 0.9), (0.9, 1)))
BATCH = ((1, "auto"), (0,))

BOUNDS = [
    (
        classification.TrainSettings,
        {"optimizer": "adamw"},
        {"batch_size": BATCH, "learning_rate": POSITIVE, "weight_decay": WEIGHT, "focal_gamma": POSITIVE, "clip_norm": POSITIVE}
        | {
            "layer_decay": ((LEAST, 1), (0, 1 + 1e-9)),
            "repeats": ((1, 64), (0, 65)),
            "class_weights": (({"a": LEAST},), ({"a": 0},)),
        }
        | dict.fromkeys(("momentum", "label_smoothing"), ((0, 1 - 1e-9), (-LEAST, 1))),
    ),
    (
        classification.MixingSettings,
        {},
        {"mixup_alpha": WEIGHT, "cutmix_alpha": WEIGHT, "prob": PROBABILITY, "switch_prob": PROBABILITY},
    ),
    (
        classification.ErasingSettings,
        {},
        {"probability": PROBABILITY, "attempts": ((1, 1000), (0, 1001))}
        | {
            "area": (((LEAST, 1), (0.5, 0.5)), ((0, 1), (0.5, 0.4), (0.1, 1.1))),
            "aspect": (((1, 100),), ((0, 1), (2, 1), (1, 101))),
        },
    ),
    (classification.ExportSettings, {}, {"calibration_images": ((1, 100_000), (0, 100_001))}),
    (DistillSettings, {"loss": "kd"}, {"temperature": POSITIVE, "ground_truth": WEIGHT}),
    (DistillSettings, {"on": ("unlabelled",)}, {"unlabelled_batch_size": COUNT}),
    (
        NoisyClassifier,
        {},
        {"batch_size": BATCH, "learning_rate": POSITIVE, "weight_decay": WEIGHT, "clip_norm": POSITIVE, "ema_decay": SHARE},
    ),
    (NoiseSettings, {"schedule": "linear"}, {"num_steps": ((1, 100_000), (0, 100_001))}),
    (
        PixelCNN,
        {},
        {"batch_size": BATCH, "learning_rate": POSITIVE, "clip_norm": POSITIVE, "ema_decay": SHARE, "betas": DECAYS},
    ),
    (
        SimMIM,
        {},
        {"batch_size": BATCH, "learning_rate": POSITIVE, "weight_decay": WEIGHT, "clip_norm": POSITIVE, "ema_decay": SHARE}
        | {"mask_ratio": SHARE, "mask_cell": COUNT},
    ),
    (
        MUNIT,
        {"batch_size": 2},
        {"batch_size": ((2,), (1,)), "learning_rate": POSITIVE, "weight_decay": WEIGHT, "betas": DECAYS},
    ),
    (MUNIT, {"batch_size": 2}, {"schedule_steps": COUNT}),
    (MUNITWeights, {}, dict.fromkeys(("image", "content", "style", "cycle"), WEIGHT)),
    (UNITWeights, {}, dict.fromkeys(("image", "prior", "cycle", "cycle_prior"), WEIGHT)),
    (
        StarGAN,
        {"batch_size": 2},
        {"batch_size": ((2,), (1,)), "learning_rate": POSITIVE, "betas": DECAYS, "critic_steps": COUNT}
        | dict.fromkeys(("gradient_penalty", "classification", "reconstruction"), WEIGHT),
    ),
    (
        StarGANv2,
        {"batch_size": 1},
        {"batch_size": COUNT, "learning_rate": POSITIVE, "mapping_learning_rate": POSITIVE, "betas": DECAYS, "ema_decay": SHARE}
        | {"diversity_steps": COUNT, "r1_every": COUNT}
        | dict.fromkeys(("weight_decay", "style", "diversity", "cycle", "r1"), WEIGHT),
    ),
]


@pytest.mark.parametrize(("settings", "required", "bounds"), BOUNDS)
def test_settings_at_their_bounds_are_allowed_and_beyond_them_refused(settings, required, bounds):
    for key, (allowed, refused) in bounds.items():
        for value in allowed:
            assert getattr(settings(**required | {key: value}), key) == value
        for value in refused:
            with pytest.raises(ValidationError, match=key):
                settings(**required | {key: value})


def test_unlabelled_pictures_are_mixed_in_pairs():
    def distilled(number):
        return {"mixing": {}, "batch_size": 8, "distill": {"on": ("unlabelled",), "unlabelled_batch_size": number}}

    assert classification.TrainSettings(**distilled(4)).distill.unlabelled_batch_size == 4
    with pytest.raises(ValidationError, match="unlabelled_batch_size: 1 is not allowed with mixing: it must be even too"):
        classification.TrainSettings(**distilled(1))
