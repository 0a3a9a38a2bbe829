"""Defaults of the augmentation and losses of classification, against papers and timm 1.0.31; source beside each."""

import inspect

import pytest

from components.families.classification.settings import ErasingSettings, ExportSettings, MixingSettings, TrainSettings
from components.stages.views.rand_augment import SCALES, RandAugment

MIXING = {  # DeiT (Touvron et al. 2021, arXiv 2012.12877, Table 9), Swin (Liu et al. 2021, arXiv 2103.14030, section 4.1)
    "mixup_alpha": 0.8,
    "cutmix_alpha": 1.0,
    "prob": 1.0,
    "switch_prob": 0.5,
    "mode": "batch",  # timm train.py --mixup-mode
}
ERASING = {
    "probability": 0.25,  # DeiT, Table 9; Swin
    "area": (0.02, 1 / 3),  # timm RandomErasing: min_area, max_area
    "aspect": (0.3, 1 / 0.3),  # timm: min_aspect and its inverse; Zhong et al. 2020, section 4.1
    "attempts": 10,  # timm: range(10)
    "mode": "pixel",  # DeiT's and timm's --remode pixel
}
RAND_AUGMENT = {  # the string rand-m9-mstd0.5-inc1: DeiT, Table 9 (9/0.5), Swin
    "magnitude": 9.0,
    "std": 0.5,
    "num_ops": 2,  # timm rand_augment_transform: num_layers=2
    "probability": 0.5,  # timm AugmentOp: prob=0.5
    "increasing": True,  # inc1
    "fill": 128,  # timm _FILL
    "p": 1.0,
}
EXPORT = {"quantise": None, "calibration_images": 256, "float_nodes": (), "reduce_range": False}
OFF = {"label_smoothing": 0.0, "class_weights": None, "focal_gamma": None, "mixing": None, "random_erasing": None, "repeats": 1}


@pytest.mark.parametrize(
    ("settings", "table"),
    [(MixingSettings(), MIXING), (ErasingSettings(), ERASING), (TrainSettings(), OFF), (ExportSettings(), EXPORT)],
)
def test_defaults_are_those_of_the_tables(settings, table):
    assert {name: getattr(settings, name) for name in table} == table
    if table is not OFF:
        assert set(table) == set(type(settings).model_fields)


def test_rand_augment_is_timm_s_rand_m9_mstd05_inc1():
    assert {name: p.default for name, p in inspect.signature(RandAugment).parameters.items()} == RAND_AUGMENT
    assert len(SCALES) == 15  # timm _RAND_INCREASING_TRANSFORMS
