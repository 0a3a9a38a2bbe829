"""SimMIM's network: an encoder that sees a mask token in the place of masked patches, and a head of one layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from components.families.simmim.masking import enlarged
from components.networks.published import ClassNames, Fitted, Note

TOKEN_STD = 0.02


class SimMIM(nn.Module):
    """Rebuild masked images.

    ``encoder``: a network with ``feature_map``, whose head is removed. All tokens pass it, masked ones too. ``cell``: side of a
    cell of the mask in pixels. ``mean``, ``std``: of the images, per channel. Names of parameters are those of the authors'
    files, but for ``encoder.mask_token``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: Any, cell: int, mean: Iterable[float], std: Iterable[float]):
        super().__init__()
        kernel, width = encoder.patch_embed.proj.weight, encoder.head.in_features
        encoder.head = nn.Identity()
        self.encoder, self.tokens_per_cell = encoder, cell // encoder.patch
        self.mask_token = nn.Parameter(torch.empty(1, 1, kernel.shape[0]))
        nn.init.trunc_normal_(self.mask_token, std=TOKEN_STD)
        outputs = encoder.stride**2 * kernel.shape[1]  # all pixels of a place of the last map
        self.decoder = nn.Sequential(nn.Conv2d(width, outputs, 1), nn.PixelShuffle(encoder.stride))
        self.register_buffer("mean", torch.tensor(list(mean)).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(list(std)).view(1, -1, 1, 1))

    def standardised(self, image: Tensor) -> Tensor:
        """[N, C, H, W] in [-1, 1] -> the same with mean 0 and deviation 1 over the training images."""
        return (image - self.mean) / self.std

    def rebuild(self, image: Tensor, mask: Tensor) -> Tensor:
        """Standardised images [N, C, H, W], mask [N, rows, columns] of cells, 1 where masked -> [N, C, H, W], standardised."""
        masked = enlarged(mask, self.tokens_per_cell).flatten(1)[:, :, None]  # [N, patches, 1]

        def substitute(patches: Tensor) -> Tensor:
            return patches * (1 - masked) + self.mask_token * masked

        rebuilt: Tensor = self.decoder(self.encoder.feature_map(image, substitute))
        return rebuilt

    def features(self, image: Tensor) -> Tensor:
        """Standardised images [N, C, H, W] -> [N, D], the mean of the last map; nothing is masked."""
        maps: Tensor = self.encoder.feature_map(image, nn.Identity())
        return maps.flatten(2).mean(2)

    def load_published(self, state: dict[str, Tensor], names: ClassNames | None = None) -> Fitted:
        """Load a SimMIM file, the authors' or ours, or the encoder alone, from a classifier's file.

        ValueError lists the encoder's tensors that do not fit; the weights are then unchanged.
        """
        encoder = {key.removeprefix("encoder."): value for key, value in state.items() if key.startswith("encoder.")}
        encoder = encoder or dict(state)
        rest = {key: value for key, value in state.items() if key.startswith("decoder.")}
        token = encoder.pop("mask_token", state.get("mask_token"))
        fitted: Fitted = self.encoder.load_published(encoder, None).without_fresh({"head"})
        return self._load_rest(rest if token is None else {"mask_token": token, **rest}, fitted)

    def _load_rest(self, state: dict[str, Tensor], fitted: Fitted) -> Fitted:
        """Load mask token and decoder where their shapes fit; note which ones start fresh."""
        own = {name: parameter for name, parameter in self.named_parameters() if not name.startswith("encoder.")}
        fits = {name for name, parameter in own.items() if name in state and state[name].shape == parameter.shape}
        with torch.no_grad():
            for name in fits:
                own[name].copy_(state[name])
        why = {name: "of another shape" if name in state else "not in the file" for name in own if name not in fits}
        notes = [Note("fresh", name, f"{reason}: starts fresh") for name, reason in why.items()]
        return Fitted(fitted.taken + len(fits), (*fitted.notes, *notes))


class Features(nn.Module):
    """image [N, C, H, W] in [-1, 1] -> features [N, D]."""

    def __init__(self, model: SimMIM):
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        return self.model.features(self.model.standardised(image))


class Reconstruction(nn.Module):
    """image [N, C, H, W] in [-1, 1], mask [N, rows, columns] -> rebuilt image [N, C, H, W], about [-1, 1]."""

    def __init__(self, model: SimMIM):
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        return self.model.rebuild(self.model.standardised(image), mask) * self.model.std + self.model.mean
