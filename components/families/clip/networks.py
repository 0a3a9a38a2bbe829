"""CLIP's two towers (Radford et al. 2021, arXiv 2103.00020, section 2.4) and its learnt temperature, in OpenAI's names.

The text tower stands below ``text.``, as in open_clip's later files; OpenAI's have its tensors at the top.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from components.contrastive.objective import add_temperature, unit
from components.networks.clip.clip_vit import VisionTransformer, fit_image_transformer
from components.networks.clip.modified_resnet import ModifiedResNet
from components.networks.clip.text_transformer import Activation, TextTransformer, fit_text_tower
from components.networks.published import ClassNames, Fit, Fitted

Tower = Literal["vit", "modified_resnet"]
Variant = Literal["ViT-B/32", "ViT-B/16", "ViT-L/14", "RN50", "RN101"]

# Tables 19 and 20: of each model what it says of its towers.
_TEXT = {"text_width": 512, "text_depth": 12, "text_heads": 8}
_LARGE_TEXT = {"text_width": 768, "text_depth": 12, "text_heads": 12}
_VIT = {"tower": "vit", "embed_dim": 512, "width": 768, "depth": 12, "heads": 12, **_TEXT}
VARIANTS: dict[str, dict[str, Any]] = {
    "ViT-B/32": {**_VIT, "patch": 32},
    "ViT-B/16": {**_VIT, "patch": 16},
    "ViT-L/14": {**_VIT, "patch": 14, "embed_dim": 768, "width": 1024, "depth": 24, "heads": 16, **_LARGE_TEXT},
    "RN50": {"tower": "modified_resnet", "embed_dim": 1024, "blocks": (3, 4, 6, 3), "width": 64, **_TEXT},
    "RN101": {"tower": "modified_resnet", "embed_dim": 512, "blocks": (3, 4, 23, 3), "width": 64, **_TEXT},
}
_SMALL_TEXT = {"text_width": 128, "text_depth": 3, "text_heads": 2}
FREE: dict[str, dict[str, Any]] = {  # without a variant: for pictures of 32 px on a CPU
    "vit": {"embed_dim": 128, "patch": 4, "width": 128, "depth": 4, "heads": 2, **_SMALL_TEXT},
    "modified_resnet": {"embed_dim": 128, "blocks": (1, 1, 1, 1), "width": 32, **_SMALL_TEXT},
}


class ImageTransformer(VisionTransformer):
    """The transformer tower with its projection: image [N, C, H, W] -> [N, embed_dim]."""

    def __init__(self, *, width: int, embed_dim: int, **options: Any):
        super().__init__(width=width, **options)
        self.proj = nn.Parameter(width**-0.5 * torch.randn(width, embed_dim))

    def project(self, features: Tensor) -> Tensor:
        """[N, width] -> [N, embed_dim]."""
        return features @ self.proj


class ImageResNet(ModifiedResNet):
    """The convolutional tower, whose pooling projects."""

    def project(self, features: Tensor) -> Tensor:
        """Return the features: [N, embed_dim]."""
        return features


class CLIP(nn.Module):
    """Image and text to unit vectors of one space; ``logit_scale``: log of the inverse temperature.

    ``variant``: the published model whose sizes it has; without it the sizes are free. ``tower``: "vit" or "modified_resnet".
    ``embed_dim``: of the common space. ``patch``, ``width``, ``depth``, ``heads``: of the image transformer, ``width`` of the
    ResNet too. ``blocks``: of the ResNet's four stages. ``text_width``, ``text_depth``, ``text_heads``: of the text one.
    ``activation``: "quick_gelu" in OpenAI's weights, "gelu" (exact) in open_clip's own. ``dropout`` (0 <= p < 1): on the
    residual branches of the transformers, none in the paper. ``sigmoid``: start from SigLIP's temperature, with its bias.
    """

    takes_rectangles: ClassVar[bool] = True
    prefers_fp32: ClassVar[bool] = False
    logit_scale: Tensor
    logit_bias: Tensor

    def __init__(
        self,
        *,
        image_size: int | tuple[int, int],
        channels: int,
        num_tokens: int,
        context: int,
        end_token: int | None,
        padding: int,
        sigmoid: bool,
        variant: Variant | None = None,
        tower: Tower | None = None,
        embed_dim: int | None = None,
        patch: int | None = None,
        width: int | None = None,
        depth: int | None = None,
        heads: int | None = None,
        blocks: tuple[int, ...] | None = None,
        text_width: int | None = None,
        text_depth: int | None = None,
        text_heads: int | None = None,
        activation: Activation = "quick_gelu",
        dropout: float = 0.0,
    ):
        super().__init__()
        given: dict[str, Any] = {
            "tower": tower,
            "embed_dim": embed_dim,
            "patch": patch,
            "width": width,
            "depth": depth,
            "heads": heads,
        }
        given |= {"blocks": blocks, "text_width": text_width, "text_depth": text_depth, "text_heads": text_heads}
        sizes = sizes_of(variant, {key: value for key, value in given.items() if value is not None})
        text = {key.removeprefix("text_"): sizes.pop(key) for key in _TEXT}
        self.embed_dim: int = sizes["embed_dim"]
        options: dict[str, Any] = {"activation": activation, "dropout": dropout}
        shape: dict[str, Any] = {"image_size": image_size, "channels": channels}
        is_vit = sizes.pop("tower") == "vit"
        self.visual = ImageTransformer(**shape, **sizes, **options) if is_vit else ImageResNet(**shape, **sizes)
        facts = {"num_tokens": num_tokens, "context": context, "end_token": end_token, "padding": padding}
        try:
            self.text = TextTransformer(**facts, **text, **options, embed_dim=self.embed_dim)  # type: ignore[arg-type]
        except ValueError as error:
            raise ValueError(f"text_{error}") from None
        add_temperature(self, sigmoid=sigmoid)

    def forward(self, image: Tensor, tokens: Tensor, kept: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Embed pairs: standardised images [N, C, H, W] and tokens int64 [N, T] -> two of unit rows, float32 [N, D]."""
        return self.embed_image(image, kept), self.embed_text(tokens)

    def embed_image(self, image: Tensor, kept: Tensor | None = None) -> Tensor:
        """Standardised images [N, C, H, W] -> unit rows [N, D]. ``kept``: patches that are not dropped, int64 [N, k]."""
        features = self.visual.features(image) if kept is None else self.visual.features(image, kept)  # type: ignore[call-arg]
        return unit(self.visual.project(features))

    def embed_text(self, tokens: Tensor) -> Tensor:
        """Tokens int64 [N, T] -> unit rows [N, D]."""
        return unit(self.text(tokens))

    def load_published(self, state: dict[str, Tensor], names: ClassNames | None = None) -> Fitted:
        """Load OpenAI's or open_clip's tensors, or a run's own.

        Another vocabulary starts fresh; positions of another context length or image size are adapted. ValueError for a timm
        tower of open_clip, and for what does not fit; the weights are then unchanged.
        """
        fit = Fit(self, from_published(state))
        fit.fit_channels("visual.conv1.weight")
        is_vit = isinstance(self.visual, ImageTransformer)
        fit_image_transformer(fit, self.visual.grid, "visual." if is_vit else "visual.attnpool.")
        fit_text_tower(fit, self.text)
        return fit.load()


def sizes_of(variant: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sizes of both towers: the variant's, or the given ones. ValueError for a contradiction."""
    if variant is not None and variant not in VARIANTS:
        raise ValueError(f"variant: {variant!r} is not allowed: {', '.join(VARIANTS)}")
    tower = VARIANTS[variant]["tower"] if variant else given.get("tower", "vit")
    if tower not in FREE:
        raise ValueError(f"tower: {tower!r} is not allowed: {', '.join(FREE)}")
    listed = VARIANTS[variant] if variant else {**FREE[tower], "tower": tower}
    for key, value in given.items():
        if key not in listed:
            raise ValueError(f"{key}: {value} is not allowed: the tower {tower} has none")
        if variant and value != listed[key]:
            raise ValueError(f"{key}: {value} is not allowed: variant {variant} has {listed[key]}; leave one of the two out")
    if given.get("embed_dim", 1) < 1:
        raise ValueError(f"embed_dim: {given['embed_dim']} is not allowed: at least 1")
    return {**listed, **given}


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of OpenAI's or open_clip's files to ours: the text tower below ``text.``, without their constants."""
    if foreign := [key for key in state if key.startswith(("visual.trunk.", "vision_model.", "text_model."))]:
        raise ValueError(f"{foreign[0]}: a tower of timm or transformers, not CLIP's own: this layout is not read")
    constants = {"input_resolution", "context_length", "vocab_size", "attn_mask", "text.attn_mask"}
    own = ("visual.", "text.", "logit_scale", "logit_bias")
    return {key if key.startswith(own) else f"text.{key}": tensor for key, tensor in state.items() if key not in constants}
