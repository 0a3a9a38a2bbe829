"""Any image classifier of timm by its name (https://github.com/huggingface/pytorch-image-models); timm is an optional package.

timm's network without its last linear layer is ``backbone``; that layer is ``head``, as in every network of a classifier.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..published import ClassNames, Fit, Fitted, with_counters
from .catalogue import create, first_line, import_timm, measure, options_for, require_variant
from .files import fit_size, from_timm, layers, leave_other_heads_out

NO_MAPS = "{} of timm ends in a sequence of tokens, not in feature maps"


class TimmNetwork(nn.Module):
    """Any classifier of timm, which is an optional package.

    ``variant``: timm's name of the network, alone or with the tag of its weights (convnext_tiny.in12k_ft_in1k).
    ``pretrained``: whether a training starts from timm's weights, downloaded or read from the local cache of huggingface_hub.
    ``dropout`` (0 <= p < 1): share of the features that is set to 0 in training.
    ``drop_path`` (0 <= p < 1): stochastic depth, for networks that have it.
    """

    takes_rectangles: ClassVar[bool] = True
    prefers_fp32: ClassVar[bool] = False

    def __init__(
        self,
        *,
        image_size: int | tuple[int, int],
        channels: int,
        num_classes: int,
        variant: str = "",
        pretrained: bool = False,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ):
        super().__init__()
        assert min(channels, num_classes) >= 1
        require_variant(variant, pretrained=pretrained)
        self.variant, self.pretrained = variant, pretrained
        size = (image_size, image_size) if isinstance(image_size, int) else (image_size[0], image_size[1])
        options = options_for(variant, channels, size, _rates(dropout=dropout, drop_path=drop_path))
        maps, width = measure(variant, channels, size, options)
        self.backbone: Any = create(variant, channels, options)
        self.has_maps = maps.dim() == 4
        self.pixels_first = self.has_maps and maps.shape[1] != self.backbone.num_features  # [N, h, w, D]
        self.saliency_fault = "" if self.has_maps else NO_MAPS.format(variant)
        self.maps = nn.Identity()  # Grad-CAM takes the last maps [N, D, h, w] that a module returns
        self.head = nn.Linear(width, num_classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def features(self, image: Tensor) -> Tensor:
        """float32 [N, C, H, W], standardised -> [N, F], what timm's last linear layer reads: dropout included."""
        maps = self.backbone.forward_features(image)  # [N, D, h, w], [N, h, w, D] or tokens [N, T, D]
        if self.pixels_first:
            maps = self.maps(maps.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        elif self.has_maps:
            maps = self.maps(maps)
        features: Tensor = self.backbone.forward_head(maps, pre_logits=True)
        return features

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """float32 [N, C, H, W], standardised -> (logits [N, K], features [N, F])."""
        features = self.features(image)
        return self.head(features), features

    def pretrained_tensors(self) -> dict[str, Tensor]:
        """Return timm's published weights by timm's names.

        ValueError in one line if they are neither in the cache nor can be downloaded.
        """
        try:
            with torch.random.fork_rng(devices=[]):
                network = import_timm().create_model(self.variant, pretrained=True)
        except Exception as error:  # urllib's, httpx's, huggingface_hub's, torch's: what a download can raise
            fault = f"model.pretrained: the weights of {self.variant} are not in the local cache and cannot be downloaded"
            raise ValueError(f"{fault} ({first_line(error)})") from error
        tensors: dict[str, Tensor] = network.state_dict()
        return tensors

    def load_published(self, state: dict[str, Tensor], names: ClassNames | None = None) -> Fitted:
        """Load tensors by timm's names or ours.

        What depends on the image size is interpolated by timm's own rule for the network. The head starts fresh if the file has
        none or other classes. ValueError lists what does not fit; the weights are then unchanged.
        """
        fit = Fit(self, with_counters(self.state_dict(), from_timm(state, self.backbone)), names)
        fit_size(fit, self.backbone)
        leave_other_heads_out(fit, self.backbone)
        found, expected = (tensors["head.bias"].numel() if "head.bias" in tensors else 0 for tensors in (fit.state, fit.own))
        fit.fit_classes("head", found, expected)
        for first in layers(self.backbone, "first_conv"):
            if (key := f"backbone.{first}.weight") in fit.own:
                fit.fit_channels(key)
        return fit.load()


def _rates(*, dropout: float, drop_path: float) -> dict[str, float]:
    """Return timm's names for the rates that are not 0; ValueError for a rate outside 0 <= p < 1."""
    for name, rate in (("dropout", dropout), ("drop_path", drop_path)):
        if not 0 <= rate < 1:
            raise ValueError(f"{name}: {rate} is not allowed: at least 0 and below 1")
    return {name: rate for name, rate in (("drop_rate", dropout), ("drop_path_rate", drop_path)) if rate > 0}
