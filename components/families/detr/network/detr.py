"""DETR (Carion et al. 2020, arXiv 2005.12872): a set of boxes from learnt object queries, with the published weights' names.

``decoder: conditional`` is Conditional DETR (Meng et al. 2021). ``denoising`` adds the embeddings of DN-DETR (Li et al. 2022,
arXiv 2203.01305) for queries that begin at noisy true boxes, in training alone.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from components.families.detr.network.attention import point_embedding, sine_positions
from components.families.detr.network.backbone import Backbone, Norm
from components.families.detr.network.conditional import MLP, ConditionalDecoder
from components.families.detr.network.published import fit_detector
from components.families.detr.network.transformer import Decoder, Encoder, Memory, Queries
from components.networks.published import ClassNames, Fitted
from components.networks.resnets.resnet import Variant

PRIOR = 0.01  # probability of a class at the start, for the focal loss (Lin et al. 2017, arXiv 1708.02002, section 4.1)
EPSILON = 1e-5  # of the inverse sigmoid


class Predictions(NamedTuple):
    """``logits`` [layers, N, Q, K'] and ``boxes`` [layers, N, Q, 4], (cx, cy, w, h) relative to the image."""

    logits: Tensor
    boxes: Tensor


class Noised(NamedTuple):
    """Noisy copies of true boxes as queries: ``label`` int64 [N, P], ``boxes`` [N, P, 4], ``mask``: of ``Queries``."""

    label: Tensor
    boxes: Tensor
    mask: Tensor


class Transformer(nn.Module):
    """Encoder and decoder, all matrices by Xavier's uniform initialisation."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)


class DETR(nn.Module):
    """The detector. 41,524,768 parameters for COCO's 91 ids; conditional with 300 queries 43,418,401.

    ``decoder``: plain has a class "no object" beside the K (softmax), conditional has K sigmoids; ``num_queries``: the most
    objects of a picture; ``denoising``: embeddings for noisy true boxes as further queries in training; ``backbone``: layers of
    the ResNet; ``norm``: frozen batch norm, for published weights, or group norm, to train from scratch; ``width``: channels of
    the backbone's first stage; ``stages``: of the backbone, which ends at a stride of 2^(stages + 1) pixels; ``levels``: how
    many of its maps are encoded, the coarsest and finer ones; ``hidden_dim``: a multiple of 4 and of the heads;
    ``num_heads``: of each attention; ``encoder_layers``: number of them; ``decoder_layers``: the same, each with a loss;
    ``ffn_dim``: of the feed-forward networks; ``dropout``: of attention and of each sub-layer's result.
    """

    takes_rectangles: ClassVar[bool] = True
    prefers_fp32: ClassVar[bool] = True

    def __init__(
        self,
        *,
        image_size: int | tuple[int, int],
        channels: int,
        num_classes: int,
        decoder: Literal["plain", "conditional"] = "plain",
        num_queries: int = 100,
        denoising: bool = False,
        backbone: Variant = 50,
        norm: Norm = "frozen",
        width: int = 64,
        stages: int = 4,
        levels: int = 1,
        hidden_dim: int = 256,
        num_heads: int = 8,
        encoder_layers: int = 6,
        decoder_layers: int = 6,
        ffn_dim: int = 2048,
        dropout: float = 0.1,
    ):
        super().__init__()
        _check_widths(hidden_dim, num_heads, dropout)
        _check_counts(num_queries=num_queries, encoder_layers=encoder_layers, decoder_layers=decoder_layers)
        conditional = decoder == "conditional"
        self.num_queries, self.hidden_dim, self.num_classes, self.conditional = (
            num_queries,
            hidden_dim,
            num_classes,
            conditional,
        )
        shape = (hidden_dim, num_heads, ffn_dim, dropout)
        decoders = ConditionalDecoder if conditional else Decoder
        self.transformer = Transformer(Encoder(*shape, encoder_layers), decoders(*shape, decoder_layers))
        self.class_embed = nn.Linear(hidden_dim, num_classes + (not conditional))
        self.bbox_embed = MLP(hidden_dim, hidden_dim, hidden_dim, 4)
        self.query_embed = nn.Embedding(num_queries, hidden_dim)
        self.backbone = Backbone(channels, backbone, norm=norm, width=width, stages=stages, levels=levels)
        *finer, coarsest = self.backbone.widths[-levels:]
        self.input_proj = nn.Conv2d(coarsest, hidden_dim, 1)
        self.finer_proj = nn.ModuleList(nn.Conv2d(size, hidden_dim, 1) for size in finer)
        if finer:
            self.level_embed = nn.Parameter(torch.randn(levels, hidden_dim))
        if denoising:  # row K: of the queries that are matched
            self.label_embed = nn.Embedding(num_classes + 1, hidden_dim)
            self.anchor_embed = MLP(2 * hidden_dim, hidden_dim, hidden_dim)
        if conditional:
            nn.init.constant_(self.class_embed.bias, -math.log((1 - PRIOR) / PRIOR))
            last = cast(nn.Linear, self.bbox_embed.layers[-1])
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    @property
    def denoises(self) -> bool:
        """Whether it has the embeddings of denoising queries."""
        return hasattr(self, "label_embed")

    def forward(self, image: Tensor, mask: Tensor | None = None, noised: Noised | None = None) -> Predictions:
        """image [N, C, H, W], standardised; ``mask`` bool [N, H, W], True where the picture is -> predictions of all layers.

        Denoising queries come before the others.
        """
        hidden, reference, _ = self.transformer.decoder(self.queries(image.shape[0], noised), self.encode(image, mask)[0])
        return self.heads(hidden, reference)

    def attention(self, image: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Attention of the last layers, the mean over heads: encoder [N, S, S], decoder [N, Q, S]. Coarsest map last in S."""
        memory, encoder = self.encode(image, mask, weights=True)
        decoder = self.transformer.decoder(self.queries(image.shape[0]), memory, weights=True)[2]
        assert encoder is not None
        return encoder, decoder

    def encode(self, image: Tensor, mask: Tensor | None = None, *, weights: bool = False) -> tuple[Memory, Tensor | None]:
        """Tokens of all levels with their positions, encoded."""
        tokens, positions, masks = [], [], []
        maps = self.backbone(image)
        for level, (one, project) in enumerate(zip(maps, [*self.finer_proj, self.input_proj], strict=True)):
            size = one.shape[-2:]
            inside = torch.ones(1, *size, dtype=torch.bool, device=image.device) if mask is None else _resized(mask, size)
            position = sine_positions(inside, self.hidden_dim).expand(image.shape[0], -1, -1)
            positions.append(position + self.level_embed[level] if len(maps) > 1 else position)
            tokens.append(project(one).flatten(2).transpose(1, 2))
            masks.append(inside.flatten(1))
        visible = None if mask is None else torch.cat(masks, 1)[:, None, None, :]
        encoder: tuple[Memory, Tensor | None] = self.transformer.encoder(
            Memory(torch.cat(tokens, 1), torch.cat(positions, 1), visible), weights=weights
        )
        return encoder

    def queries(self, count: int, noised: Noised | None = None) -> Queries:
        """The object queries for ``count`` images, after those of ``noised``."""
        positions = self.query_embed.weight.expand(count, -1, -1)
        content = torch.zeros_like(positions)
        if self.denoises:
            content = content + self.label_embed.weight[self.num_classes]
        if noised is None:
            return Queries(content, positions)
        anchors = self.anchor_embed(point_embedding(noised.boxes, self.hidden_dim // 2))
        content = torch.cat([self.label_embed(noised.label), content], 1)
        return Queries(content, torch.cat([anchors, positions], 1), noised.boxes[..., :2], noised.mask)

    def heads(self, hidden: Tensor, reference: Tensor | None) -> Predictions:
        """hidden [layers, N, Q, d] -> predictions; a reference point [N, Q, 2] is where the centre begins."""
        offset: Tensor = self.bbox_embed(hidden)
        if reference is not None:
            offset = offset + F.pad(inverse_sigmoid(reference), (0, 2))
        return Predictions(self.class_embed(hidden), offset.sigmoid())

    def load_published(self, state: dict[str, Tensor], names: ClassNames | None = None) -> Fitted:
        """Load the published layout of DETR or Conditional DETR, or our own; ValueError lists what does not fit."""
        return fit_detector(self, state, names).load()


def inverse_sigmoid(x: Tensor) -> Tensor:
    """log(x / (1 - x)) of x in [0, 1], finite at both ends."""
    return (x.clamp(min=EPSILON) / (1 - x).clamp(min=EPSILON)).log()


def _resized(mask: Tensor, size: torch.Size) -> Tensor:
    """The mask at the size of a map, by the nearest pixel: bool [N, H, W] -> [N, h, w]."""
    return F.interpolate(mask[:, None].float(), size=tuple(size))[:, 0] > 0.5


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name}: {value} is not allowed: at least 1")


def _check_widths(dim: int, heads: int, dropout: float) -> None:
    if heads < 1 or dim < 4 or dim % 4 or dim % heads:
        raise ValueError(f"hidden_dim: {dim} is not allowed: a multiple of 4 and of num_heads, {heads}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout: {dropout} is not allowed: at least 0 and below 1")
