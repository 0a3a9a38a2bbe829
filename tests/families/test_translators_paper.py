"""The constants of the translators' papers against the defaults of their settings and networks."""

import pytest
import torch
from pydantic import create_model
from pydantic_core import PydanticUndefined

from components.families.acvae_vc.recipe import ACVAERecipe
from components.families.munit.recipe import MUNITRecipe
from components.families.stargan.recipe import StarGANRecipe
from components.families.stargan_v2.recipe import StarGANv2Recipe
from components.families.stargan_vc.recipe import StarGANVCRecipe
from components.families.unit.recipe import UNITRecipe
from components.networks import translator_blocks
from components.stages.train.settings import LoopSettings
from components.translation.pairs import adam

MUNIT_PAPER = "arXiv 1804.04732, training details"
MUNIT_CODE = "NVlabs/MUNIT, configs/edges2shoes_folder.yaml"
UNIT_CODE = "NVlabs/MUNIT, configs/unit_gta2city_folder.yaml"
STARGAN = "arXiv 1711.09020, Experiments: Training"
STARGAN_CODE = "yunjey/stargan, solver.py"
STARGAN_LOSS = "arXiv 1711.09020, eq. 5, 6 and 8"
STARGAN_V2 = "arXiv 1912.01865, appendix, training details"
STARGAN_V2_CODE = "clovaai/stargan-v2, core/solver.py"
STARGAN_VC_CODE = "kamepong/StarGAN-VC, train.py: the paper, arXiv 1806.02169, names no numbers"
ACVAE_CODE = "kamepong/ACVAE-VC: the sum of four means; one optimizer"
OURS = "none published: as StarGAN-VC's"

PAIR = {
    "learning_rate": (1e-4, MUNIT_PAPER),
    "betas": ((0.5, 0.999), MUNIT_PAPER),
    "weight_decay": (1e-4, MUNIT_CODE),
    "discriminator.width": (64, MUNIT_PAPER),
    "schedule": ("step", MUNIT_PAPER),
    "schedule_steps": (100_000, MUNIT_PAPER),
    "ema_decay": (None, MUNIT_CODE),
}
PAPERS = {
    MUNITRecipe: PAIR
    | {
        "weights.image": (10.0, MUNIT_PAPER),
        "weights.content": (1.0, MUNIT_PAPER),
        "weights.style": (1.0, MUNIT_PAPER),
        "weights.cycle": (0.0, MUNIT_CODE),
    },
    UNITRecipe: PAIR
    | {
        "weights.image": (10.0, UNIT_CODE),
        "weights.prior": (0.01, UNIT_CODE),
        "weights.cycle": (10.0, UNIT_CODE),
        "weights.cycle_prior": (0.01, UNIT_CODE),
    },
    StarGANRecipe: {
        "learning_rate": (1e-4, STARGAN),
        "betas": ((0.5, 0.999), STARGAN),
        "critic_steps": (5, STARGAN),
        "schedule": ("constant_linear", STARGAN),
        "constant_fraction": (0.5, STARGAN),
        "ema_decay": (None, STARGAN_CODE),
        "gradient_penalty": (10.0, STARGAN_LOSS),
        "classification": (1.0, STARGAN_LOSS),
        "reconstruction": (10.0, STARGAN_LOSS),
    },
    StarGANv2Recipe: {
        "learning_rate": (1e-4, STARGAN_V2),
        "mapping_learning_rate": (1e-6, STARGAN_V2),
        "betas": ((0.0, 0.99), STARGAN_V2),
        "weight_decay": (1e-4, STARGAN_V2),
        "schedule": ("constant", STARGAN_V2),
        "ema_decay": (0.999, STARGAN_V2_CODE),
        "ema_ramp_up": (False, STARGAN_V2_CODE),
        "style": (1.0, STARGAN_V2),
        "diversity": (1.0, STARGAN_V2),
        "diversity_steps": (None, STARGAN_V2),  # linearly to 0 over the whole training
        "cycle": (1.0, STARGAN_V2),
        "r1": (1.0, STARGAN_V2),
        "r1_every": (1, STARGAN_V2),
    },
    StarGANVCRecipe: {
        "learning_rate": (5e-4, STARGAN_VC_CODE),
        "discriminator_learning_rate": (5e-6, STARGAN_VC_CODE),
        "betas": ((0.9, 0.999), STARGAN_VC_CODE),
        "discriminator_betas": ((0.5, 0.999), STARGAN_VC_CODE),
        "schedule": ("constant", STARGAN_VC_CODE),
        "ema_decay": (None, STARGAN_VC_CODE),
        "clip_norm": (1.0, STARGAN_VC_CODE),
        "adversarial": ("wasserstein", STARGAN_VC_CODE),
        "gradient_penalty": (1.0, STARGAN_VC_CODE),
        "classification": (1.0, STARGAN_VC_CODE),
        "cycle": (1.0, STARGAN_VC_CODE),
        "identity": (1.0, STARGAN_VC_CODE),
        "critic_steps": (1, STARGAN_VC_CODE),
    },
    ACVAERecipe: {
        "learning_rate": (5e-4, OURS),
        "betas": ((0.9, 0.999), OURS),
        "schedule": ("constant", OURS),
        "clip_norm": (1.0, OURS),
        "divergence": (1.0, ACVAE_CODE),
        "classification": (1.0, ACVAE_CODE),
        "information": (1.0, ACVAE_CODE),
    },
}
ROWS = [(recipe, name, *row) for recipe, rows in PAPERS.items() for name, row in rows.items()]


def train_settings(recipe):
    """A run's train block that states nothing but what has no default."""
    return create_model("Train", __base__=(recipe.Train, LoopSettings))(
        batch_size=2, seed=0, threads=1, precision="fp32", steps=1_000_000
    )


@pytest.mark.parametrize(("recipe", "name", "value", "source"), ROWS, ids=[f"{r.__name__}-{name}" for r, name, *_ in ROWS])
def test_a_default_is_the_paper_s(recipe, name, value, source):
    settings = train_settings(recipe)
    for part in name.split("."):
        settings = getattr(settings, part)
    assert settings == value, source


@pytest.mark.parametrize("recipe", PAPERS, ids=lambda recipe: recipe.__name__)
def test_every_default_has_a_source(recipe):
    """But for what changes no result, and what follows from the size of the images."""
    exempt = {"share_forward", "discriminator.layers", "discriminator.scales"}
    names = set()
    for name, field in recipe.Train.model_fields.items():
        nested = getattr(field.default, "model_fields_set", None)
        names |= {f"{name}.{inner}" for inner in type(field.default).model_fields} if nested is not None else {name}
    required = {name for name, field in recipe.Train.model_fields.items() if field.default is PydanticUndefined}
    assert required == {"batch_size"}
    of_the_loop = set(LoopSettings.model_fields)
    assert names - exempt - required - of_the_loop == set(PAPERS[recipe]) - of_the_loop


def test_epsilons_are_those_of_the_reference_implementations():
    """torch's Adam (1e-8) and norms (1e-5); MUNIT's layer norm adds 1e-5 to the deviation, not to the variance."""
    optimizer = adam(torch.nn.Linear(1, 1), MUNITRecipe.Train(batch_size=2))
    assert optimizer.defaults["eps"] == 1e-8
    assert translator_blocks.EPSILON == 1e-5
