"""UNIT's variational auto-encoder of one domain (Liu et al. 2017, arXiv 1703.00848), in the layout of MUNIT's repository.

The special case of MUNIT without style, whose latents of both domains share one space. q(z | x) is N(mean, 1) (section 3), so
the network predicts a mean alone. Translation is ``decode`` of the target domain's network with the source's latent.
Unlike the paper's, the repository's networks share no weights: the cycle aligns the latent spaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from ...networks.published import Fitted, taken_whole
from ...networks.translator_blocks import (
    ContentEncoder,
    ResBlocks,
    check_at_least_one,
    check_content_size,
    from_published,
    kaiming,
    way_up,
    wide,
)


class LatentDecoder(nn.Module):
    """Latent [N, width 2^d, h, w] -> image [N, C, 2^d h, 2^d w] in (-1, 1)."""

    def __init__(self, channels: int, width: int, downsamplings: int, blocks: int):
        super().__init__()
        self.model = nn.Sequential(ResBlocks(width * 2**downsamplings, blocks), *way_up(width, downsamplings, channels))

    def forward(self, latent: Tensor) -> Tensor:
        return wide(self.model(latent))


class UNIT(nn.Module):
    """Image [N, C, H, W] in [-1, 1] <-> latent; published for 256 px: 11,140,483 parameters.

    ``width``: channels at full size, doubled by each downsampling; ``downsamplings``: layers that halve the sides; ``blocks``:
    residual blocks of the encoder and of the decoder. ``enc`` (image -> mean) and ``dec`` (latent -> image) are modules to
    export.
    """

    prefers_fp32: ClassVar[bool] = False

    def __init__(self, *, image_size: int, channels: int, width: int = 64, downsamplings: int = 2, blocks: int = 4):
        super().__init__()
        assert min(image_size, channels) >= 1
        check_at_least_one(width=width, blocks=blocks)
        check_content_size(image_size, downsamplings)
        self.enc = ContentEncoder(channels, width, downsamplings, blocks)
        self.dec = LatentDecoder(channels, width, downsamplings, blocks)
        self.apply(kaiming)

    def encode(self, image: Tensor) -> Tensor:
        """float32 [N, C, H, W] in [-1, 1] -> the latent's mean [N, width 2^d, H / 2^d, W / 2^d]."""
        return self.enc(image)

    def decode(self, latent: Tensor) -> Tensor:
        """Latent, a mean or a mean + noise -> float32 [N, C, H, W] in (-1, 1)."""
        return self.dec(latent)

    def forward(self, image: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Image, noise of N(0, 1) like the mean -> (reconstruction, mean)."""
        mean = self.encode(image)
        return self.decode(mean + noise), mean

    def load_published(self, state: Mapping[str, Tensor]) -> Fitted:
        """Load one domain's tensors of a ``gen_*.pt`` (``translator_blocks.of_domain``), or another run's.

        ValueError lists what does not fit; the weights are then unchanged.
        """
        return taken_whole(self, from_published(state))
