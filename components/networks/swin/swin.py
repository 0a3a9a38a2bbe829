"""Swin Transformer (Liu et al. 2021, arXiv 2103.14030) and version 2 (Liu et al. 2022, arXiv 2111.09883), as classifiers."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

from torch import Tensor, nn

from ..encoders import encoder_of, layer_ids, leave_pretraining_out
from ..published import ClassNames, Fit, Fitted, fit_classifier
from .attention import WindowAttention
from .blocks import PatchEmbedding, PatchMerging, PostNormBlock, PreNormBlock, Stage
from .files import fit_bias_networks, fit_bias_tables, from_layouts, leave_out_buffers
from .sizes import VARIANT_MLP_RATIO, Sizes, sizes_of
from .windows import Windows

START_STD = 0.02
MakeBlock = Callable[[int, Windows, float], nn.Module]  # (stage, windows, drop_path) -> block


class ShiftedWindows(nn.Module):
    """What both versions share: patches, stages, the last norm and the head. ``block`` makes a block of a stage."""

    takes_rectangles: ClassVar[bool] = True
    prefers_fp32: ClassVar[bool] = False

    def __init__(self, sizes: Sizes, channels: int, num_classes: int, block: MakeBlock, *, norm_first: bool):
        super().__init__()
        assert min(*sizes.image, channels, num_classes) >= 1
        self.sizes, self.patch = sizes, sizes.patch
        self.stride = sizes.patch * 2 ** (len(sizes.depths) - 1)  # pixels: side of a place of the feature map
        self.patch_embed = PatchEmbedding(channels, sizes.widths[0], sizes.patch, sizes.image_padding)
        self.layers = nn.Sequential()
        for stage, rates in enumerate(sizes.rates()):
            downsample: nn.Module = nn.Identity()
            if stage > 0:
                downsample = PatchMerging(sizes.widths[stage - 1], sizes.grids[stage - 1], norm_first=norm_first)
            blocks = [block(stage, windows, rate) for windows, rate in zip(sizes.windows(stage), rates, strict=True)]
            self.layers.append(Stage(sizes.grids[stage], downsample, blocks))
        self.norm = nn.LayerNorm(sizes.widths[-1])
        self.head = nn.Linear(sizes.widths[-1], num_classes)
        self.apply(_initialise)

    def features(self, image: Tensor) -> Tensor:
        """float32 [N, C, H, W], standardised -> [N, F], the mean of the last stage's tokens after the last norm."""
        x = self.layers(self.patch_embed(image))
        pooled: Tensor = self.norm(x.flatten(2).transpose(1, 2)).mean(1)
        return pooled

    def feature_map(self, image: Tensor, substitute: Callable[[Tensor], Tensor]) -> Tensor:
        """float32 [N, C, H, W], standardised -> [N, D, rows, columns], the last stage's tokens after the last norm.

        ``substitute``: applied to the patch embeddings [N, patches, D], after their norm.
        """
        patches = self.patch_embed(image)
        tokens = substitute(patches.flatten(2).transpose(1, 2)).transpose(1, 2)
        x = self.layers(tokens.unflatten(2, self.sizes.grids[0]))
        maps: Tensor = self.norm(x.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, self.sizes.grids[-1])
        return maps

    def layer_ids(self) -> dict[str, int]:
        """Parameter name -> its layer: patches 0, block i (over all stages) i + 1, the last norm and the head one more.

        A patch merging belongs to the last block before it (SimMIM's fine-tuning, Xie et al. 2022).
        """
        depths, parts = self.sizes.depths, {}
        for stage, depth in enumerate(depths):
            before = sum(depths[:stage])
            parts[f"layers.{stage}.downsample"] = before
            parts |= {f"layers.{stage}.blocks.{block}": before + block + 1 for block in range(depth)}
        return layer_ids(self, parts, sum(depths) + 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """float32 [N, C, H, W], standardised -> (logits [N, K], features [N, F])."""
        features = self.features(image)
        return self.head(features), features

    def _begin_fit(self, state: dict[str, Tensor], names: ClassNames | None) -> Fit:
        fit = fit_classifier(self, from_layouts(encoder_of(state)), names, "patch_embed.proj.weight")
        leave_pretraining_out(fit)
        return fit


class Swin(ShiftedWindows):
    """Image classifier with attention within shifted windows; takes every image size.

    ``variant``: the published model whose width, depths and heads it has; without it these are free, and those not given are
    T's. ``patch``: side of a patch in pixels (published: 4 for 224 px; 2 suits 32 px). ``width``: of a token in the first
    stage, doubled from stage to stage. ``depths``: blocks of each stage. ``heads``: of the attention in each stage, divisors
    of the stages' widths; by default one per 32 channels. ``window``: side of a window in tokens; a smaller stage shrinks it,
    a stage that it does not divide is padded. ``mlp_ratio``: hidden width / width. ``drop_path`` (0 <= p < 1): stochastic
    depth (Huang et al. 2016, arXiv 1603.09382), rising linearly from 0 in the first block to p in the last; published: T 0.2,
    S 0.3, B 0.5.
    """

    def __init__(
        self,
        *,
        image_size: int | tuple[int, int],
        channels: int,
        num_classes: int,
        variant: Literal["T", "S", "B", "L"] | None = None,
        patch: int = 4,
        width: int | None = None,
        depths: tuple[int, ...] | None = None,
        heads: tuple[int, ...] | None = None,
        window: int = 7,
        mlp_ratio: float = VARIANT_MLP_RATIO,
        drop_path: float = 0.2,
    ):
        sizes = sizes_of(
            image_size,
            variant=variant,
            patch=patch,
            width=width,
            depths=depths,
            heads=heads,
            window=window,
            mlp_ratio=mlp_ratio,
            drop_path=drop_path,
        )

        def block(stage: int, windows: Windows, rate: float) -> nn.Module:
            width = sizes.widths[stage]
            return PreNormBlock(width, sizes.heads[stage], int(width * mlp_ratio), windows, drop_path=rate)

        super().__init__(sizes, channels, num_classes, block, norm_first=True)

    def load_published(self, state: dict[str, Tensor], names: ClassNames | None = None) -> Fitted:
        """Load a published file's tensors, in Microsoft's layout, timm's or ours.

        Bias tables of other windows are interpolated. The head starts fresh if the file has none or other classes. ValueError
        lists what does not fit; the weights are then unchanged.
        """
        fit = self._begin_fit(state, names)
        fit_bias_tables(fit)
        leave_out_buffers(fit)
        return fit.load()


class SwinV2(ShiftedWindows):
    """Image classifier, version 2 of ``swin``: scaled cosine attention, a bias network, norms after the branches.

    ``variant``: the published model whose width, depths and heads it has; without it these are free, and those not given are
    T's. ``patch``: side of a patch in pixels (published: 4 for 256 px; 2 suits 32 px). ``width``: of a token in the first
    stage, doubled from stage to stage. ``depths``: blocks of each stage. ``heads``: of the attention in each stage, divisors
    of the stages' widths; by default one per 32 channels. ``window``: side of a window in tokens (published: 8, 16); a smaller
    stage shrinks it, a stage that it does not divide is padded. ``pretrained_windows``: windows of each stage by which the
    weights of the link ``init`` were trained, for files that do not say them (timm's); by default this network's.
    ``mlp_ratio``: hidden width / width. ``drop_path`` (0 <= p < 1): stochastic depth (Huang et al. 2016, arXiv 1603.09382),
    rising linearly from 0 in the first block to p in the last; published: T 0.2, S 0.3, B 0.5.
    """

    def __init__(
        self,
        *,
        image_size: int | tuple[int, int],
        channels: int,
        num_classes: int,
        variant: Literal["T", "S", "B", "L"] | None = None,
        patch: int = 4,
        width: int | None = None,
        depths: tuple[int, ...] | None = None,
        heads: tuple[int, ...] | None = None,
        window: int = 8,
        pretrained_windows: tuple[int, ...] | None = None,
        mlp_ratio: float = VARIANT_MLP_RATIO,
        drop_path: float = 0.2,
    ):
        sizes = sizes_of(
            image_size,
            variant=variant,
            patch=patch,
            width=width,
            depths=depths,
            heads=heads,
            window=window,
            mlp_ratio=mlp_ratio,
            drop_path=drop_path,
        )
        if pretrained_windows is not None and (len(pretrained_windows) != len(sizes.depths) or min(pretrained_windows) < 1):
            allowed = f"a window, at least 1, for each of the {len(sizes.depths)} stages"
            raise ValueError(f"pretrained_windows: {list(pretrained_windows)} is not allowed: {allowed}")

        def block(stage: int, windows: Windows, rate: float) -> nn.Module:
            width, side = sizes.widths[stage], pretrained_windows[stage] if pretrained_windows else None
            trained = windows.size if side is None else (side, side)
            hidden = int(width * mlp_ratio)
            return PostNormBlock(width, sizes.heads[stage], hidden, windows, drop_path=rate, trained_window=trained)

        super().__init__(sizes, channels, num_classes, block, norm_first=False)
        for module in self.layers.modules():
            if isinstance(module, PostNormBlock):
                nn.init.zeros_(module.norm1.weight)
                nn.init.zeros_(module.norm2.weight)

    def load_published(self, state: dict[str, Tensor], names: ClassNames | None = None) -> Fitted:
        """Load a published file's tensors, in Microsoft's layout, timm's or ours.

        The biases of other windows are recomputed. The head starts fresh if the file has none or other classes. ValueError
        lists what does not fit; the weights are then unchanged.
        """
        fit = self._begin_fit(state, names)
        fit_bias_networks(fit)
        leave_out_buffers(fit)
        return fit.load()


def _initialise(module: nn.Module) -> None:
    """The authors' start: normal, std 0.02, cut at 2, for dense layers and bias tables; biases 0; patches as torch has them."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=START_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, WindowAttention):
        nn.init.trunc_normal_(module.relative_position_bias_table, std=START_STD)
