"""Settings of a classifier: its batches, optimizer, losses and the augmentation of whole batches; its export."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from components.core.config.strict import Strict
from components.core.recipe import BatchSize
from components.families.classification.distillation import DistillSettings

Probability = Annotated[float, Field(ge=0, le=1)]


class MixingSettings(Strict):
    """Mixup (Zhang et al. 2018, arXiv 1710.09412) and CutMix (Yun et al. 2019, arXiv 1905.04899) of a batch with its reverse.

    The defaults are those of DeiT and Swin (Touvron et al. 2021, Table 9; Liu et al. 2021, section A2.1).
    """

    mixup_alpha: float = Field(default=0.8, ge=0, description="lambda ~ Beta(alpha, alpha) of mixup; 0: no mixup")
    cutmix_alpha: float = Field(default=1.0, ge=0, description="lambda ~ Beta(alpha, alpha) of CutMix; 0: no CutMix")
    prob: Probability = Field(default=1.0, description="that a batch, pair or image is mixed at all")
    switch_prob: Probability = Field(default=0.5, description="of CutMix instead of mixup, if both are in use")
    mode: Literal["batch", "pair", "elem"] = Field(
        default="batch", description="what shares one lambda: the batch, an image and its partner, or each image its own"
    )

    @model_validator(mode="after")
    def _mixes(self) -> MixingSettings:
        if self.mixup_alpha == self.cutmix_alpha == 0:
            raise ValueError("mixup_alpha: 0 is not allowed with cutmix_alpha: 0; leave the block `mixing` out instead")
        return self


class ErasingSettings(Strict):
    """Random erasing of a rectangle (Zhong et al. 2020, arXiv 1708.04896), with the law of timm and its usual values."""

    probability: Probability = Field(default=0.25, description="that an image is erased")
    area: tuple[float, float] = Field(default=(0.02, 1 / 3), description="[least, most] of the image's area, uniform")
    aspect: tuple[float, float] = Field(default=(0.3, 1 / 0.3), description="[least, most] of height / width, log-uniform")
    attempts: int = Field(default=10, ge=1, le=1000, description="to draw a rectangle that is smaller than the image")
    mode: Literal["pixel", "const"] = Field(
        default="pixel", description="pixel: N(0, 1) per pixel and channel after standardisation; const: 0, the mean"
    )

    @model_validator(mode="after")
    def _ascends(self) -> ErasingSettings:
        for key, most in (("area", 1.0), ("aspect", 100.0)):
            low, high = getattr(self, key)
            if not 0 < low <= high <= most:
                raise ValueError(f"{key}: {[low, high]} is not allowed: two ascending numbers above 0, at most {most:g}")
        return self


class TrainSettings(Strict):
    """The recipe's part of the ``train`` block."""

    named_if_set: ClassVar[tuple[str, ...]] = (
        *("target", "class_weights", "focal_gamma", "mixing", "random_erasing", "repeats", "top5"),
        *("distill", "layer_decay"),
    )

    batch_size: BatchSize = Field(default=32, description="images per update; auto: as many as fit in most of a GPU's memory")
    optimizer: Literal["adamw", "sgd"] = Field(default="adamw", description="AdamW, or SGD with momentum")
    learning_rate: float = Field(
        default=1e-3, gt=0, description="at the top of the schedule, for the whole batch; sgd has no default: 0.1 is usual"
    )
    weight_decay: float = Field(default=0.0, ge=0, description="of matrices and kernels; none for biases, norms, tokens")
    layer_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="factor on the learning rate from each layer to the one below; the head has it all",
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="SGD with Nesterov's momentum, or AdamW's beta_1")
    target: Literal["auto", "label", "labels"] = Field(
        default="auto",
        description="column to learn: label, one class per image, or labels, several; auto: the one that is there",
    )
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="share of the target spread over all classes")
    class_weights: dict[str, Annotated[float, Field(gt=0)]] | Literal["balanced"] | None = Field(
        default=None,
        description="{class: factor of its loss}, 1 for the others; balanced: inversely to the number of training images",
    )
    focal_gamma: float | None = Field(
        default=None, gt=0, description="focal loss (Lin et al. 2017): exponent of 1 - p of the true class; 2 is usual"
    )
    mixing: MixingSettings | None = Field(default=None, description="mixup and CutMix; null: none, {}: those of DeiT and Swin")
    random_erasing: ErasingSettings | None = Field(default=None, description="null: none, {}: the usual one")
    repeats: int = Field(
        default=1, ge=1, le=64, description="repeated augmentation: times that an image follows itself in the epoch's order"
    )
    clip_norm: float | None = Field(default=None, gt=0, description="bound on the global gradient norm")
    sampler: Literal["shuffle", "balanced"] = Field(
        default="shuffle", description="every image once an epoch, or every class equally often"
    )
    standardise: Literal["view", "half", "imagenet"] = Field(
        default="view", description="mean and std: of the training images; 0.5 and 0.5 in [0, 1]; ImageNet's"
    )
    distill: DistillSettings | None = Field(default=None, description="learn from a teacher, a link of role teacher")
    top5: bool = Field(default=False, description="top-5 accuracy in the validation curve, of more than 5 classes")

    @model_validator(mode="after")
    def _has_a_rate(self) -> TrainSettings:
        if self.optimizer == "sgd" and "learning_rate" not in self.model_fields_set:
            raise ValueError("learning_rate: missing; optimizer sgd has no default, 0.1 is usual")
        return self

    @model_validator(mode="after")
    def _losses_agree(self) -> TrainSettings:
        if self.focal_gamma is not None and (self.mixing is not None or self.label_smoothing):
            other = "mixing" if self.mixing is not None else "label_smoothing"
            raise ValueError(f"focal_gamma: {self.focal_gamma:g} is not allowed with {other}: it is defined for one true class")
        return self

    @model_validator(mode="after")
    def _batches_pair_up(self) -> TrainSettings:
        if self.mixing is not None and self.batch_size != "auto" and self.batch_size % 2:
            fault = f"batch_size: {self.batch_size} is not allowed with mixing"
            raise ValueError(f"{fault}: image i is mixed with the i-th from the end, so the number must be even")
        unlabelled = self.distill.unlabelled_batch_size if self.distill else None
        if self.mixing is not None and unlabelled and unlabelled % 2:
            raise ValueError(f"distill.unlabelled_batch_size: {unlabelled} is not allowed with mixing: it must be even too")
        return self


class ExportSettings(Strict):
    """One graph, ``model``, which a link of role ``detector`` gives an out-of-distribution score.

    A quantised export keeps the float graph beside the one that is served; `quantised.json` says how far they agree.
    """

    moved: ClassVar[dict[str, str]] = {
        "detector": "name it in `detect.<name>.serve`, and link outputs/detect/<name>/served at stage export as role detector"
    }

    quantise: Literal["static", "dynamic"] | None = Field(
        default=None,
        description="int8 weights of convolutions and matrix products; static: ranges of activations from validation images, "
        "dynamic: from each input, matrix products only",
    )
    calibration_images: int = Field(
        default=256, ge=1, le=100_000, description="static: validation images, drawn by train.seed, that the ranges come from"
    )
    float_nodes: tuple[str, ...] = Field(
        default=(), description="nodes of the graph to keep in float: kinds (MatMul) or patterns of names (node_conv2d*)"
    )
    reduce_range: bool = Field(
        default=False, description="weights of 7 bits: on processors without VNNI sums of 8-bit products overflow"
    )
