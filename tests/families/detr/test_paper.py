"""The constants of DETR, Conditional DETR, DN-DETR and of COCO's figures, source beside each."""

import inspect
import math

import numpy as np
import pytest
import torch
from families.tiny import Tiny
from torch import nn

from components.families.detr import losses, matching
from components.families.detr.evaluation import Settings as EvaluateSettings
from components.families.detr.network import attention, detr
from components.families.detr.network.backbone import GROUPS, UNTRAINED, FrozenBatchNorm, group_norm
from components.families.detr.network.detr import DETR
from components.families.detr.settings import CONDITIONAL, DENOISING, PLAIN, ExportSettings, TrainSettings
from components.metrics.detections import average_precision, box_errors, boxes

TRAIN = {  # Carion et al. 2020, arXiv 2005.12872; facebookresearch/detr, main.py
    "batch_size": 64,  # section A.4: 16 GPUs with 4 images each
    "learning_rate": 1e-4,  # section 4, "Technical details"; --lr
    "backbone_learning_rate": 1e-5,  # section 4; --lr_backbone
    "weight_decay": 1e-4,  # section 4; --weight_decay
    "clip_norm": 0.1,  # section A.4; --clip_max_norm
    "schedule": "constant_linear",  # section 4: the rate falls to a tenth after 200 of 300 epochs, to which this is nearest
    "constant_fraction": 2 / 3,  # section 4: 200 of 300 epochs; --lr_drop 200
    "standardise": "imagenet",  # section A.4, weights of torchvision
    "denoising_groups": 5,  # DN-DETR's code, main.py: --scalar
    "label_noise": 0.2,  # Li et al. 2022, arXiv 2203.01305, section 5.1; --label_noise_scale
    "box_noise": 0.4,  # section 5.1; --box_noise_scale
}
WEIGHTS = {  # name of ``Weights`` -> (DETR, Conditional DETR, DN-DETR)
    "loss_class": (1, 2, 1),  # detr/models/detr.py: loss_ce 1; Meng et al. 2021, section 4.1; dn main.py: --cls_loss_coef
    "loss_l1": (5, 5, 5),  # Carion et al. 2020, section A.4; --bbox_loss_coef
    "loss_giou": (2, 2, 2),  # section A.4; --giou_loss_coef
    "cost_class": (1, 2, 0),  # --set_cost_class of the two; DN-DETR's noisy queries are not matched (section 4.2)
    "cost_l1": (5, 5, 0),  # --set_cost_bbox
    "cost_giou": (2, 2, 0),  # --set_cost_giou
    "focal": (False, True, True),  # Carion et al. 2020, eq. 2; Meng et al. 2021, section 4.1; the class loss of the decoder
}
NETWORK = {  # Carion et al. 2020, section A.4; main.py
    "backbone": 50,
    "norm": "frozen",  # section A.4: "batch normalisation weights and statistics frozen"
    "width": 64,  # He et al. 2016, table 1
    "stages": 4,
    "levels": 1,
    "hidden_dim": 256,  # --hidden_dim
    "num_heads": 8,  # --nheads
    "encoder_layers": 6,  # --enc_layers
    "decoder_layers": 6,  # --dec_layers
    "ffn_dim": 2048,  # --dim_feedforward
    "dropout": 0.1,  # section A.4; --dropout
    "num_queries": 100,  # section 4; Conditional DETR: 300 (its section 4.1)
    "decoder": "plain",
    "denoising": False,
}


def test_the_defaults_of_the_training_are_those_of_the_papers():
    assert {name: getattr(TrainSettings(), name) for name in TRAIN} == TRAIN
    assert set(TrainSettings.model_fields) == set(TRAIN), "every default has a source"


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_weights_of_costs_and_losses_are_those_of_the_papers(name):
    assert tuple(getattr(weights, name) for weights in (PLAIN, CONDITIONAL, DENOISING)) == WEIGHTS[name]
    assert set(vars(PLAIN)) == set(WEIGHTS)


def test_the_constants_of_the_losses_are_those_of_the_papers():
    assert losses.NO_OBJECT == 0.1  # Carion et al. 2020, section 3.1: divided by 10; --eos_coef
    assert (losses.FOCAL_ALPHA, losses.FOCAL_GAMMA) == (0.25, 2.0)  # Lin et al. 2017, section 5.1; --focal_alpha
    assert (matching.FOCAL_ALPHA, matching.FOCAL_GAMMA) == (0.25, 2.0)  # ConditionalDETR/models/matcher.py
    assert matching.EPSILON == 1e-8  # the same: log(p + 1e-8)


def test_the_network_s_settings_are_those_of_the_paper():
    known = inspect.signature(DETR).parameters
    assert {name: known[name].default for name in NETWORK} == NETWORK
    assert set(known) - set(NETWORK) == {"image_size", "channels", "num_classes"}


def test_the_constants_of_the_network_are_those_of_the_authors():
    assert attention.TEMPERATURE == 10_000  # models/position_encoding.py
    assert attention.EPSILON == 1e-6  # the same: eps
    assert detr.EPSILON == 1e-5  # ConditionalDETR/util/misc.py, inverse_sigmoid: eps 1e-5
    assert GROUPS == 32  # Wu & He 2018, arXiv 1803.08494, section 3
    assert group_norm(48).num_groups == 16  # the most that divide
    assert UNTRAINED == ("conv1", "layer1")  # models/backbone.py: layers 2 to 4 are trained
    options = {"backbone": 18, "width": 8, "stages": 2, "hidden_dim": 16, "num_heads": 2, "encoder_layers": 1}
    network = DETR(image_size=32, channels=3, num_classes=3, decoder="conditional", decoder_layers=1, ffn_dim=8, **options)
    assert {module.eps for module in network.modules() if isinstance(module, nn.LayerNorm)} == {1e-5}  # torch's
    prior = network.class_embed.bias.sigmoid()
    torch.testing.assert_close(prior, torch.full((3,), 0.01))  # Lin et al. 2017, section 4.1; ConditionalDETR: prior_prob
    assert not network.bbox_embed.layers[-1].weight.any()  # ConditionalDETR/models/conditional_detr.py
    norm = FrozenBatchNorm(1)
    norm.running_var.fill_(4.0)
    norm.weight.fill_(3.0)
    assert norm(torch.ones(1, 1, 1, 1)).item() == pytest.approx(3 / math.sqrt(4 + 1e-5), abs=1e-7)  # models/backbone.py: eps


def test_the_optimizer_has_the_rates_of_backbone_and_rest(tmp_path):
    recipe = Tiny("detr", tmp_path).build(learning_rate=3e-4, backbone_learning_rate=2e-5, weight_decay=0.01)
    (optimizer,) = recipe.optimizers.values()
    rest, backbone = optimizer.param_groups
    assert (rest["lr"], backbone["lr"]) == (3e-4, 2e-5)
    assert {(tuple(group["betas"]), group["eps"], group["weight_decay"]) for group in (rest, backbone)} == {
        ((0.9, 0.999), 1e-8, 0.01)  # torch's AdamW, as main.py leaves them
    }
    assert {id(p) for p in backbone["params"]} == {id(p) for p in recipe.detector.network.backbone.parameters()}
    assert len(rest["params"]) + len(backbone["params"]) == len(list(recipe.detector.parameters()))


def test_the_constants_of_the_figures_are_coco_s():
    assert boxes.THRESHOLDS.tolist() == pytest.approx([0.5 + 0.05 * index for index in range(10)])  # "Detection evaluation"
    assert boxes.MOST == (1, 10, 100)
    assert average_precision.RECALLS.tolist() == pytest.approx(np.arange(0, 1.001, 0.01).tolist())
    assert average_precision.SIDES == (32, 96) == (EvaluateSettings().small, EvaluateSettings().large)
    assert ExportSettings().detections == 100
    assert (box_errors.FOREGROUND, box_errors.BACKGROUND) == (0.5, 0.1)  # Bolya et al. 2020, arXiv 2008.08115, section 2.2
