"""The constants of the papers, source beside each: families' ``train`` blocks, optimizers, networks, schedules, detectors.

The translators' blocks are in test_translators_paper.py.
"""

import inspect
import math

import pytest
import torch
from families.tiny import TINY, Tiny
from torch import nn

from components.core import standardise
from components.core.config.strict import resolve
from components.detectors import DETECTORS
from components.diffusion import schedules
from components.diffusion.schedules import linear_betas
from components.families.classification import distillation
from components.families.classification.evaluation import Settings as EvaluateClassification
from components.families.classification.operating_point import TprAtFprSettings
from components.families.classification.settings import TrainSettings as Classification
from components.families.diffusion.settings import TrainSettings as Diffusion
from components.families.noisy_classifier.recipe import TrainSettings as NoisyClassifier
from components.families.pixelcnn.recipe import TrainSettings as PixelCNN
from components.families.simmim.recipe import TrainSettings as SimMIM
from components.networks import MODELS
from components.networks.inception import InceptionV3
from components.networks.swin.attention import MAX_SCALE, START_SCALE
from components.networks.unet import blocks

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


CLASSIFICATION = {  # no paper's whole recipe: what the papers of its networks leave out is off until a run asks for it
    "momentum": 0.9,  # He et al. 2016, arXiv 1512.03385, section 3.4; Dosovitskiy et al. 2021, arXiv 2010.11929, table 4; Adam
    "label_smoothing": 0.0,  # He et al. 2016, section 3.4: none; Szegedy et al. 2016 and Swin: 0.1
    "clip_norm": None,  # He et al. 2016: none; ViT: 1; Swin: 5
    "weight_decay": 0.0,  # ViT, fine-tuning, section 4.1: none; He et al.: 1e-4; Swin: 0.05
    "sampler": "shuffle",  # He et al. 2016, section 3.4
    "optimizer": "adamw",  # Loshchilov & Hutter 2019, arXiv 1711.05101; Swin, section 4.1
    "learning_rate": 1e-3,  # Swin, section 4.1: 1e-3 per 1,024 images
}
SIMMIM = {  # Xie et al. 2022, arXiv 2111.09886, appendix A; microsoft/SimMIM, configs for 100 epochs
    "batch_size": 2048,
    "learning_rate": 8e-4,  # 2e-4 per 512 images
    "betas": (0.9, 0.999),
    "weight_decay": 0.05,
    "clip_norm": 5.0,  # config.py: TRAIN.CLIP_GRAD
    "schedule": "cosine",
    "ema_decay": None,  # none
    "mask_ratio": 0.6,  # section 4.1.2
    "mask_cell": 32,  # section 4.1.2
}
OURS = {  # settings whose default follows from the data or is no figure of a paper
    Classification: {"batch_size", "standardise", *Classification.named_if_set},  # the last in classification/test_defaults.py
    SimMIM: set(),
    Diffusion: {"noise", "conditions"},  # tested below
    NoisyClassifier: {"noise"},
    PixelCNN: {"binarise"},
}
PAPERS = [(Classification, CLASSIFICATION), (Diffusion, DDPM), (NoisyClassifier, GUIDED_DIFFUSION), (PixelCNN, PIXELCNN)]
PAPERS.append((SimMIM, SIMMIM))


@pytest.mark.parametrize(("settings", "paper"), PAPERS)
def test_defaults_are_those_of_the_paper(settings, paper):
    assert {name: getattr(settings(), name) for name in paper} == paper


@pytest.mark.parametrize(("settings", "paper"), PAPERS)
def test_every_default_has_a_source(settings, paper):
    assert set(settings.model_fields) == set(paper) | OURS[settings]


ADAM = (0.9, 0.999)  # Kingma & Ba 2015, arXiv 1412.6980, algorithm 1; its epsilon is 1e-8
BETAS = {  # of every optimizer as the recipe builds it, in the family's tiny run
    "classification": ADAM,
    "pixelcnn": ADAM,  # pytorch-generative
    "diffusion": ADAM,  # DDPM, appendix B
    "noisy_classifier": ADAM,  # guided-diffusion, classifier_train.py: AdamW's
    "simmim": ADAM,  # its config.py
    "munit": (0.5, 0.999),  # arXiv 1804.04732, appendix B.1
    "unit": (0.5, 0.999),  # arXiv 1703.00848, section 3
    "stargan": (0.5, 0.999),  # arXiv 1711.09020, section 4.3
    "stargan_v2": (0.0, 0.99),  # arXiv 1912.01865, appendix B
}


@pytest.mark.parametrize("family", BETAS)
def test_every_optimizer_is_built_with_the_paper_s_betas_and_epsilon(family, tmp_path):
    assert "betas" not in TINY[family]["train"]
    for optimizer in Tiny(family, tmp_path).build().optimizers.values():
        for group in optimizer.param_groups:
            assert (tuple(group["betas"]), group["eps"]) == (BETAS[family], 1e-8)


NORMS = {  # network -> (settings, kind of norm, epsilon, momentum of running statistics)
    "vit": ({"variant": "Ti", "patch": 16}, nn.LayerNorm, 1e-6, None),  # google-research/vision_transformer: flax's
    "swin": ({"variant": "T"}, nn.LayerNorm, 1e-5, None),  # microsoft/Swin-Transformer: torch's
    "swin_v2": ({"variant": "T"}, nn.LayerNorm, 1e-5, None),
    "resnet": ({"variant": 50}, nn.BatchNorm2d, 1e-5, 0.1),  # torchvision; He et al. 2016 follow Ioffe & Szegedy 2015
    "resnet18": ({}, nn.BatchNorm2d, 1e-5, 0.1),
    "pp_lcnet": ({}, nn.BatchNorm2d, 1e-5, 0.1),  # PaddleClas: momentum 0.9 in Paddle's sense
}


@pytest.mark.parametrize("name", NORMS)
def test_norms_have_the_epsilon_of_published_weights(name):
    options, kind, epsilon, momentum = NORMS[name]
    with torch.device("meta"):
        network = resolve(MODELS, name, "name")(image_size=224, channels=3, num_classes=10, **options)
    norms = [module for module in network.modules() if isinstance(module, (nn.LayerNorm, nn.BatchNorm2d, nn.GroupNorm))]
    assert norms
    assert {(type(norm), norm.eps, getattr(norm, "momentum", None)) for norm in norms} == {(kind, epsilon, momentum)}


DEFAULTS = {  # of the networks' own settings
    "swin": {"window": 7, "drop_path": 0.2, "mlp_ratio": 4.0},  # arXiv 2103.14030, section 3.3 and appendix A2.1 (Swin-T)
    "swin_v2": {"window": 8, "drop_path": 0.2, "mlp_ratio": 4.0},  # arXiv 2111.09883, appendix A1
    "vit": {"mlp_ratio": 4.0, "activation": "gelu"},  # arXiv 2010.11929, table 1; timm's published weights
    "pp_lcnet": {"dropout": 0.2, "last_width": 1280},  # arXiv 2109.15099, section 3.4; PaddleClas: class_expand 1280
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_settings_of_networks_are_the_paper_s(name):
    known = inspect.signature(resolve(MODELS, name, "name")).parameters
    assert {key: known[key].default for key in DEFAULTS[name]} == DEFAULTS[name]


def test_constants_of_networks_are_those_of_the_authors():
    assert (START_SCALE, MAX_SCALE) == (10.0, 100.0)  # arXiv 2111.09883, section 3.3: tau above 0.01; the authors' log 10
    assert blocks.GroupNorm(2, 4).eps == 1e-5  # guided-diffusion: torch's
    with torch.device("meta"):
        norms = [module for module in InceptionV3().modules() if isinstance(module, nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {1e-3}  # Szegedy et al. 2016, as in tf-slim: epsilon 0.001


SLOPES = {"munit": 0.2, "unit": 0.2, "stargan": 0.01, "stargan_v2": 0.2}  # the authors' code, each


@pytest.mark.parametrize("family", SLOPES)
def test_leaky_relus_have_the_slope_of_the_authors(family, tmp_path):
    modules = Tiny(family, tmp_path).build().modules()
    assert {module.negative_slope for module in modules if isinstance(module, nn.LeakyReLU)} == {SLOPES[family]}


DETECTORS_OF_PAPERS = {
    "odin": {"temperature": 1000.0, "epsilon": 0.0014},  # Liang et al. 2018, arXiv 1706.02690, section 4.3
    "react": {"quantile": 0.9},  # Sun et al. 2021, arXiv 2111.12797, section 4.1: the 90th percentile
    "knn": {"neighbours": 50, "share": 1.0},  # Sun et al. 2022, arXiv 2204.06507, section 4.1: k = 50 on CIFAR-10
    "energy": {"temperature": 1.0},  # Liu et al. 2020, arXiv 2010.03759, section 3.2
    "gradnorm": {"temperature": 1.0},  # Huang et al. 2021, arXiv 2110.00218, section 3
    "mcm": {"temperature": 1.0},  # Ming et al. 2022, arXiv 2211.13445, section 3
    "vim": {"dimension": None},  # the rule of Wang et al. 2022, tested with the detector
}


@pytest.mark.parametrize("name", DETECTORS_OF_PAPERS)
def test_detectors_have_the_settings_of_their_papers(name):
    known = inspect.signature(resolve(DETECTORS, name, "detector")).parameters
    assert {key: known[key].default for key in DETECTORS_OF_PAPERS[name]} == DETECTORS_OF_PAPERS[name]


def test_classification_is_measured_and_standardised_with_published_figures():
    assert EvaluateClassification().calibration_bins == 15  # Guo et al. 2017, arXiv 1706.04599, table 1
    assert standardise.IMAGENET_MEAN == (0.485, 0.456, 0.406)  # torchvision, "mean and std of ImageNet"
    assert standardise.IMAGENET_STD == (0.229, 0.224, 0.225)


def test_distillation_has_the_constants_of_paddleclas():
    assert (distillation.DistillSettings().loss, distillation.DistillSettings().ground_truth) == ("symmetric_kl", 0.0)  # SSLD
    assert distillation.EPSILON == 1e-12  # ppcls/loss/dmlloss.py
    assert distillation.TEMPERATURE == 4.0  # ppcls/loss/kldivloss.py
    assert TprAtFprSettings(positive="a").fpr == 0.001  # PULC, ppcls/metric/metrics.py: 1/1000


def test_schedules_have_the_constants_of_their_papers():
    assert schedules.GAMMA_RANGE == (-13.3, 5.0)  # VDM, arXiv 2107.00630, appendix; configs/cifar10.py
    cosine = schedules.make_schedule("cosine", 1000)  # Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 17: s = 0.008
    t = torch.tensor([0.25, 0.5, 0.9], dtype=torch.float64)
    expected = [(math.cos((x + 0.008) / 1.008 * math.pi / 2) / math.cos(0.008 / 1.008 * math.pi / 2)) ** 2 for x in t.tolist()]
    assert cosine.log_snr(t).sigmoid().tolist() == pytest.approx(expected, rel=1e-9)
    last = cosine.log_snr(torch.tensor([0.999, 1.0], dtype=torch.float64)).sigmoid()
    assert float(1 - last[1] / last[0]) == pytest.approx(0.999)  # the text after eq. 17: beta at most 0.999


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
