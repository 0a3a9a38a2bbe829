"""LIMoE's tower (Mustafa et al. 2022, arXiv 2206.02770, section 2): one transformer for patches and for tokens of text.

What belongs to a modality is its embedding, its positions and its head. Tokens of both share all blocks, of which every second
one has a mixture of experts in place of its MLP; they attend within their own picture or text. Both are read as the mean of
their tokens. The texts are not masked causally.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

import torch
from torch import Tensor, nn

from components.contrastive.objective import add_temperature, unit
from components.families.limoe.embeddings import Patches, Tokens, Words, fit_patches, mean_of
from components.networks.clip.text_transformer import Attention, fit_text_tower
from components.networks.mixture_of_experts import Dispatch, MixtureOfExperts, Routed
from components.networks.published import ClassNames, Fit, Fitted

PER_BLOCK = 4  # width of the MLP, and of each expert, as a multiple of the tower's


class Block(nn.Module):
    """Pre-norm residual block on the tokens of one or both modalities; ``experts``: of its mixture, 0 for a plain MLP."""

    def __init__(self, width: int, heads: int, experts: int):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads, causal=False)
        self.mlp = MixtureOfExperts(width, PER_BLOCK * width, experts) if experts else dense_mlp(width)

    def forward(self, parts: list[Tokens], dispatch: Dispatch | None, layer: int) -> tuple[list[Tokens], Routed | None]:
        """``layer``: number of its mixture in the tower. Returns the tokens and the mixture's decision on those of all."""
        mixed = [part.x + self.attn(self.ln_1(part.x), part.mask) for part in parts]
        x = torch.cat(mixed, dim=1) if len(mixed) > 1 else mixed[0]
        routed: Routed | None = None
        if isinstance(self.mlp, MixtureOfExperts):
            seen = torch.cat([part.seen for part in parts], dim=1)
            branch, routed = self.mlp(self.ln_2(x), seen, dispatch, layer)
        else:
            branch = self.mlp(self.ln_2(x))
        split = (x + branch).split([part.x.shape[1] for part in parts], dim=1)
        return [part._replace(x=own) for part, own in zip(parts, split, strict=True)], routed


class LIMoE(nn.Module):
    """Image and text to unit vectors of one space, by one tower; ``logit_scale``: log of the inverse temperature.

    ``patch``: side of a patch in pixels. ``width``: of a token; ``depth``: blocks; ``heads``: of the attention, a divisor of
    the width; ``embed_dim``: of the common space. ``experts``: of a mixture, at least 2; 0 or 1: plain MLPs, the dense
    counterpart with as many active parameters (but for the routers). ``every``: a mixture in each block whose number, from 1,
    it divides (2, the paper's). LIMoE-B/16 has patch 16, width 768, depth 12, heads 12, 32 experts.
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
        patch: int = 4,
        width: int = 128,
        depth: int = 4,
        heads: int = 2,
        embed_dim: int = 128,
        experts: int = 8,
        every: int | None = None,
    ):
        super().__init__()
        check_sizes(width=width, depth=depth, heads=heads, embed_dim=embed_dim, experts=experts, every=every)
        self.experts, self.embed_dim = experts if experts > 1 else 0, embed_dim
        self.image = Patches(image_size, channels, patch, width, embed_dim)
        self.text = Words(
            num_tokens=num_tokens,
            context=context,
            end_token=end_token,
            padding=padding,
            width=width,
            embed_dim=embed_dim,
        )
        sparse = [self.experts if (block + 1) % (every or 2) == 0 else 0 for block in range(depth)]
        self.blocks = nn.ModuleList(Block(width, heads, number) for number in sparse)
        self.mixtures = sum(number > 0 for number in sparse)
        self.ln_final = nn.LayerNorm(width)
        add_temperature(self, sigmoid=sigmoid)

    def forward(self, image: Tensor, tokens: Tensor, dispatch: Dispatch | None = None) -> tuple[Tensor, Tensor, list[Routed]]:
        """Embed pairs: standardised images [N, C, H, W], tokens int64 [N, T] -> two of unit rows, float32 [N, D], decisions.

        The decisions, one per mixture, are for [N, P + T] tokens: the patches of a pair, then the tokens of its text.
        """
        (seen, read), routed = self.encode([self.image(image), self.text(tokens)], dispatch)
        return unit(self.image.project(seen)), unit(self.text.project(read)), routed

    def encode(self, parts: list[Tokens], dispatch: Dispatch | None = None) -> tuple[list[Tensor], list[Routed]]:
        """Return the mean of each part's tokens after the last norm, [N, D], and the decision of each mixture."""
        decisions: list[Routed] = []
        for block in self.blocks:
            parts, routed = block(parts, dispatch, len(decisions))
            decisions += [] if routed is None else [routed]
        return [mean_of(self.ln_final(part.x), part.seen) for part in parts], decisions

    def load_published(self, state: dict[str, Tensor], names: ClassNames | None = None) -> Fitted:
        """Load another run's tensors; another vocabulary starts fresh, positions of other sizes are adapted.

        ValueError for what does not fit, such as another number of experts; the weights are then unchanged.
        """
        fit = Fit(self, state)
        fit.fit_channels("image.conv1.weight")
        fit_patches(fit, self.image.grid)
        fit_text_tower(fit, self.text)
        return fit.load()


def dense_mlp(width: int) -> nn.Sequential:
    """Return the MLP of a block without experts, of the size of one expert."""
    layers = {"fc": nn.Linear(width, PER_BLOCK * width), "gelu": nn.GELU(), "proj": nn.Linear(PER_BLOCK * width, width)}
    for layer in (layers["fc"], layers["proj"]):
        nn.init.xavier_uniform_(layer.weight)  # type: ignore[arg-type]
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return nn.Sequential(OrderedDict(layers))


def check_sizes(*, experts: int, every: int | None, **sizes: int) -> None:
    """ValueError, which names the argument, for sizes that do not fit together."""
    for key, value in sizes.items():
        if value < 1:
            raise ValueError(f"{key}: {value} is not allowed: at least 1")
    if sizes["width"] % sizes["heads"]:
        raise ValueError(f"heads: {sizes['heads']} does not divide width {sizes['width']}")
    if experts < 0:
        raise ValueError(f"experts: {experts} is not allowed: at least 2; 0 or 1 for plain MLPs, the dense counterpart")
    if experts < 2:
        if every is not None:
            raise ValueError(f"every: {every} is not allowed: with experts {experts} no block has a mixture; leave it out")
    elif every is None and sizes["depth"] < 2:
        raise ValueError(f"depth: {sizes['depth']} is not allowed: at least 2, so that every second block has a mixture")
    elif every is not None and not 1 <= every <= sizes["depth"]:
        raise ValueError(f"every: {every} is not allowed: 1 to depth {sizes['depth']}")
