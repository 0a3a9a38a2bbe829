"""ViT, the vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929). Parameter names are timm's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .encoders import encoder_of, layer_ids, leave_pretraining_out, refuse_relative_bias
from .published import ClassNames, Fitted, fit_classifier
from .vit_files import from_flax, is_flax

# (width, depth, heads). B, L: Dosovitskiy et al., Table 1. Ti, S: Touvron et al. 2021 (DeiT, arXiv 2012.12877), Table 1.
VARIANTS = {"Ti": (192, 12, 3), "S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16)}
VARIANT_MLP_RATIO = 4.0
EXTRA = "a layer before the head of ImageNet-21k, no part of this network"
APPROXIMATION = {"gelu": "none", "gelu_tanh": "tanh"}  # our word -> torch's


class Attention(nn.Module):
    """Multi-head self-attention (appendix A, eq. 5-8): [N, T, D] -> [N, T, D]."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # [N, T, 3, heads, D / heads]
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each [N, heads, T, D / heads]
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.dropout(self.proj(mixed.transpose(1, 2).flatten(2)))

    def weights(self, x: Tensor) -> Tensor:
        """Attention weights of ``forward`` (eq. 6): [N, T, D] -> [N, heads, T, T], rows sum to 1."""
        query, key, _ = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return (query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])).softmax(-1)


class Mlp(nn.Module):
    """Two layers, a token at a time: [N, T, D] -> [N, T, D]."""

    def __init__(self, width: int, hidden: int, activation: str, dropout: float):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.approximate = APPROXIMATION[activation]
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.dropout(F.gelu(self.fc1(x), approximate=self.approximate))
        return self.dropout(self.fc2(hidden))


class Block(nn.Module):
    """Pre-norm encoder block (eq. 2 and 3)."""

    def __init__(self, width: int, heads: int, hidden: int, activation: str, dropout: float, *, drop_path: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads, dropout)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, hidden, activation, dropout)
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:
        x = x + stochastic_depth(self.attn(self.norm1(x)), self.drop_path, self.training)
        return x + stochastic_depth(self.mlp(self.norm2(x)), self.drop_path, self.training)


class PatchEmbedding(nn.Module):
    """Non-overlapping patches, one linear map: [N, C, H, W] -> [N, (H / patch)(W / patch), D], row by row."""

    def __init__(self, channels: int, width: int, patch: int):
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, patch)

    def forward(self, image: Tensor) -> Tensor:
        return self.proj(image).flatten(2).transpose(1, 2)


class ViT(nn.Module):
    """Image classifier on the class token.

    ``variant``: the published model whose width, depth and heads it has; without it these are free, and those not given are
    Ti's. ``width``: of a token; ``depth``: blocks; ``heads``: of the attention, a divisor of the width. ``patch``: side of a
    patch in pixels, divides height and width (published: 16 for 224 px; 4 suits 32 px). ``mlp_ratio``: hidden width / width.
    ``activation``: "gelu_tanh" for the authors' JAX weights, "gelu" (exact) for timm's. ``dropout`` (0 <= p < 1): after every
    dense layer but qkv, and after the positions (appendix B.1). ``drop_path`` (0 <= p < 1): stochastic depth (Huang et al.
    2016, arXiv 1603.09382), rising linearly from 0 in the first block to p in the last.
    """

    takes_rectangles: ClassVar[bool] = True
    prefers_fp32: ClassVar[bool] = False

    def __init__(
        self,
        *,
        image_size: int | tuple[int, int],
        channels: int,
        num_classes: int,
        variant: Literal["Ti", "S", "B", "L"] | None = None,
        patch: int = 4,
        width: int | None = None,
        depth: int | None = None,
        heads: int | None = None,
        mlp_ratio: float = VARIANT_MLP_RATIO,
        activation: Literal["gelu", "gelu_tanh"] = "gelu",
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ):
        super().__init__()
        height, width_in = (image_size, image_size) if isinstance(image_size, int) else image_size
        assert min(height, width_in, channels, num_classes) >= 1
        _check_rates(dropout=dropout, drop_path=drop_path)
        _check_choice("activation", activation, APPROXIMATION)
        width, depth, heads = _sizes(variant, width, depth, heads, mlp_ratio)
        if patch < 1 or height % patch or width_in % patch:
            allowed = _divisors(math.gcd(height, width_in))
            raise ValueError(f"patch: {patch} does not divide the image size {image_size}; allowed: {allowed}")
        self.grid = (height // patch, width_in // patch)  # patches: rows, columns
        self.patch = self.stride = patch  # pixels: side of a patch, and of a place of the feature map
        hidden = int(width * mlp_ratio)
        rates = torch.linspace(0, drop_path, depth, device="cpu").tolist()
        self.patch_embed = PatchEmbedding(channels, width, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + math.prod(self.grid), width))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(width, heads, hidden, activation, dropout, drop_path=rate) for rate in rates))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, num_classes)
        _initialise(self)

    def features(self, image: Tensor) -> Tensor:
        """float32 [N, C, H, W], standardised -> [N, width], the class token after the last norm (eq. 4)."""
        return self.norm(self.blocks(self.dropout(self._tokens(image)))[:, 0])

    def feature_map(self, image: Tensor, substitute: Callable[[Tensor], Tensor]) -> Tensor:
        """float32 [N, C, H, W], standardised -> [N, D, rows, columns], the patches after the last norm.

        ``substitute``: applied to the patch embeddings [N, patches, D], before the positions are added.
        """
        tokens = self.norm(self.blocks(self.dropout(self._tokens(image, substitute))))
        maps: Tensor = tokens[:, 1:].transpose(1, 2).unflatten(2, self.grid)
        return maps

    def layer_ids(self) -> dict[str, int]:
        """Parameter name -> its layer: embeddings 0, block i i + 1, the last norm and the head one more."""
        return layer_ids(self, {f"blocks.{index}": index + 1 for index in range(len(self.blocks))}, len(self.blocks) + 1)

    def _tokens(self, image: Tensor, substitute: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Class token and patches with their positions (eq. 1): [N, 1 + patches, D]."""
        token = self.cls_token.expand(image.shape[0], -1, -1)  # not len(): the ONNX exporter would fix the batch size
        patches = self.patch_embed(image)
        patches = patches if substitute is None else substitute(patches)
        return torch.cat([token, patches], dim=1) + self.pos_embed

    @torch.no_grad()
    def attentions(self, image: Tensor) -> list[Tensor]:
        """Attention weights of every block in eval mode, each [N, heads, T, T]; the class token is first."""
        tokens, weights = self._tokens(image), []
        for block in self.blocks:
            part: Any = block
            weights.append(part.attn.weights(part.norm1(tokens)))
            tokens = block(tokens)
        return weights

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """float32 [N, C, H, W], standardised -> (logits [N, K], features [N, F])."""
        features = self.features(image)
        return self.head(features), features

    @staticmethod
    def from_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors by our names, which are timm's; the authors' npz files are renamed."""
        return from_flax(state) if is_flax(state) else dict(state)

    def load_published(self, state: dict[str, Tensor], names: ClassNames | None = None) -> Fitted:
        """Load a published file's tensors, in its layout or ours, or the encoder of masked image modelling.

        Positions of another image size are interpolated (section 3.2). The head starts fresh if the file has none or other
        classes. ValueError lists what does not fit; the weights are then unchanged.
        """
        encoder = encoder_of(state)
        refuse_relative_bias(encoder)
        fit = fit_classifier(self, self.from_published(encoder), names, "patch_embed.proj.weight")
        leave_pretraining_out(fit)
        fit.leave_out("pre_logits", [key for key in fit.state if key.startswith("pre_logits")], EXTRA)
        positions, own = fit.state.get("pos_embed", self.pos_embed), self.pos_embed.shape[1]
        if positions.dim() == 3 and positions.shape[1] != own:
            grown = f"the file has {positions.shape[1] - 1} patches, this view {own - 1}: interpolated"
            fit.replace("pos_embed", interpolate_positions(positions, self.grid), "adapted", grown)
        return fit.load()


def stochastic_depth(branch: Tensor, rate: float, training: bool) -> Tensor:
    """Drop a residual branch [N, T, D] for a share ``rate`` of the images, and keep its expectation (Huang et al. 2016)."""
    if rate == 0 or not training:
        return branch
    keep = branch.new_empty(branch.shape[0], 1, 1).bernoulli_(1 - rate)
    return branch * keep / (1 - rate)


def interpolate_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """[1, 1 + n * n, D] -> [1, 1 + rows * columns, D]: bicubic on the patch grid (section 3.2), the class token's stays.

    Anti-aliased where the grid shrinks, as in timm. ValueError where the rows after the first are no square grid.
    """
    token, patches = positions[:, :1], positions[:, 1:]
    old = math.isqrt(patches.shape[1])
    if old * old != patches.shape[1] or old == 0:
        raise ValueError(f"pos_embed: {positions.shape[1]} positions are not a class token and a square grid of patches")
    square = patches.float().unflatten(1, (old, old)).permute(0, 3, 1, 2)  # [1, D, n, n]
    resized = F.interpolate(square, size=grid, mode="bicubic", antialias=True)  # [1, D, rows, columns]
    return torch.cat([token, resized.flatten(2).transpose(1, 2).to(token.dtype)], dim=1)


def _sizes(
    variant: str | None, width: int | None, depth: int | None, heads: int | None, mlp_ratio: float
) -> tuple[int, int, int]:
    """(width, depth, heads): the variant's, or the given ones."""
    if variant is not None:
        _check_choice("variant", variant, VARIANTS)
    table = VARIANTS[variant or "Ti"]
    given = {"width": width, "depth": depth, "heads": heads}
    for (key, value), listed in zip(given.items(), table, strict=True):
        if value is not None and (value < 1 or (variant and value != listed)):
            allowed = f"variant {variant} has {listed}; leave one of the two out" if variant else "at least 1"
            raise ValueError(f"{key}: {value} is not allowed: {allowed}")
    width, depth, heads = (value or listed for value, listed in zip(given.values(), table, strict=True))
    if width % heads:
        raise ValueError(f"heads: {heads} does not divide width {width}; allowed: {_divisors(width)}")
    if mlp_ratio * width < 1 or (variant and mlp_ratio != VARIANT_MLP_RATIO):
        raise ValueError(f"mlp_ratio: {mlp_ratio} is not allowed: {VARIANT_MLP_RATIO} with a variant, else at least 1 / width")
    return width, depth, heads


def _check_rates(**rates: float) -> None:
    for key, rate in rates.items():
        if not 0 <= rate < 1:
            raise ValueError(f"{key}: {rate} is not allowed: at least 0 and below 1")


def _check_choice(key: str, value: str, allowed: dict) -> None:
    if value not in allowed:
        raise ValueError(f"{key}: {value!r} is not allowed: {', '.join(allowed)}")


def _divisors(number: int) -> str:
    return ", ".join(str(divisor) for divisor in range(1, number + 1) if number % divisor == 0)


@torch.no_grad()
def _initialise(model: ViT) -> None:
    """The authors' start: Xavier for dense layers (q, k, v each their own), LeCun for patches, positions std .02, head 0."""
    for name, module in model.blocks.named_modules():
        if isinstance(module, nn.Linear):
            for part in module.weight.chunk(3 if name.endswith("qkv") else 1):
                nn.init.xavier_uniform_(part)
            nn.init.normal_(module.bias, std=1e-6 if ".mlp." in name else 0.0)
    kernel = model.patch_embed.proj.weight
    nn.init.normal_(kernel, std=kernel[0].numel() ** -0.5)
    nn.init.normal_(model.pos_embed, std=0.02)
    for start in (model.patch_embed.proj.bias, model.head.weight, model.head.bias):
        assert start is not None
        nn.init.zeros_(start)
