"""Vision-aided training (Kumari et al. 2022, arXiv 2112.09130): heads on frozen networks judge beside the discriminator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from components.core.artifact import Artifact
from components.core.step import gather
from components.families.stylegan2.backbones import Backbone
from components.families.stylegan2.probe import probe_accuracy
from components.families.stylegan2.settings import ROLES, VisionSettings

HEAD_WIDTH, SLOPE = 256, 0.2


class Head(nn.Module):
    """features [N, F] (, class int64 [N]) -> logit [N]: two layers, spectrally normalised, and a projection on the class."""

    def __init__(self, width: int, num_classes: int):
        super().__init__()
        self.hidden = spectral_norm(nn.Linear(width, HEAD_WIDTH))
        self.out = spectral_norm(nn.Linear(HEAD_WIDTH, 1))
        self.embed = spectral_norm(nn.Embedding(num_classes, HEAD_WIDTH)) if num_classes else None

    def forward(self, features: Tensor, label: Tensor | None) -> Tensor:
        h = F.leaky_relu(self.hidden(F.normalize(features, dim=1) * features.shape[1] ** 0.5), SLOPE)
        logit: Tensor = self.out(h)[:, 0]
        return logit if self.embed is None else logit + (self.embed(label) * h).sum(1)


class VisionAid(nn.Module):
    """The heads, and their frozen backbones in the order of their roles.

    With several and ``order: probe`` it has ``joined`` int64 [K], the places of those that joined, -1 for one that has not, and
    ``seen_<role>`` [2, n, F], features of the real and generated images of the linear probe.
    """

    joined: Tensor

    def __init__(self, settings: VisionSettings, backbones: Mapping[str, Backbone], num_classes: int, batch_size: int):
        super().__init__()
        self.settings, self.batch_size = settings, batch_size
        self.backbones = dict(backbones)
        self.heads = nn.ModuleDict({role: Head(backbone.width, num_classes) for role, backbone in backbones.items()})
        self.searched = settings.order == "probe" and len(self.backbones) > 1
        if self.searched:
            rows = settings.probe_updates * batch_size
            self.register_buffer("joined", torch.full((len(self.backbones),), -1))
            self.joined[: self.number(0)] = torch.arange(self.number(0))  # nothing has been seen to choose by
            for role, backbone in self.backbones.items():
                self.register_buffer(f"seen_{role}", torch.zeros(2, rows, backbone.width))

    @classmethod
    def build(
        cls, settings: VisionSettings | None, links: Mapping[str, Artifact], *, channels: int, num_classes: int, batch_size: int
    ) -> VisionAid | None:
        """Return None without settings, and without links: stages after the training need no backbone."""
        files = settings.published if settings else {}
        if links and (missing := [role for role in files if role not in links]):
            raise ValueError(f"train.vision.published.{missing[0]}: no link at stage train of this role brings the file")
        found: dict[str, Backbone] = {}
        found |= {role: Backbone.read(role, links[role], channels, files.get(role)) for role in ROLES if role in links}
        return cls(settings, found, num_classes, batch_size) if settings and found else None

    def number(self, step: int) -> int:
        """How many backbones have joined at ``step``: the first after the warm-up, each other one later."""
        seen = step * self.batch_size - self.settings.warmup_images
        return sum(seen >= index * self.settings.images_per_backbone for index in range(len(self.backbones)))

    def members(self, step: int) -> list[str]:
        """Roles of the backbones that have joined at ``step``, in the order in which they did."""
        roles, number = list(self.backbones), self.number(step)
        return [roles[place] for place in (self.joined.tolist() if self.searched else range(len(roles)))[:number]]

    @torch.no_grad()
    def search(self, real: Tensor, fake: Tensor, step: int) -> dict[str, Tensor]:
        """Keep the features of the update ``step`` if a join is near; in the last one before it choose who joins.

        Returns the accuracies of the linear probes, ``<role>_probe``, in the update that chooses, and nothing in others.
        """
        names = [role for role in self.backbones if role not in self.members(step)] if self.searched else []
        ahead = self.settings.probe_updates
        until = next((gap for gap in range(1, ahead + 1) if self.number(step + gap) > self.number(step)), None)
        if until is None or len(names) < 2:
            return self.join(names, step) if until == 1 else {}
        last = slice((ahead - until) * self.batch_size, (ahead - until + 1) * self.batch_size)
        for role in names:
            features = [gather(self.backbones[role](image).float()) for image in (real, fake)]
            self.get_buffer(f"seen_{role}")[:, last] = torch.stack(features)
        if until > 1:
            return {}
        rows = self.batch_size * min(ahead, self.updates_alone(step))
        found = {role: probe_accuracy(*self.get_buffer(f"seen_{role}")[:, -rows:]) for role in names}
        self.join(sorted(names, key=lambda role: -found[role]), step)  # of equal ones the first link
        return {f"{role}_probe": real.new_tensor(value) for role, value in found.items()}

    def join(self, ranked: list[str], step: int) -> dict[str, Tensor]:
        """Let the first of ``ranked`` join in the update after ``step``."""
        before, after = self.number(step), self.number(step + 1)
        if self.searched:
            places = [list(self.backbones).index(role) for role in ranked[: after - before]]
            self.joined[before:after] = torch.tensor(places, device=self.joined.device)
        return {}

    def updates_alone(self, step: int) -> int:
        """Updates up to ``step`` since the last join or the start: those whose features are kept."""
        since = (gap for gap in range(1, step + 1) if self.number(step - gap) < self.number(step))
        return next(since, step + 1)

    def logits(self, image: Tensor, label: Tensor | None, step: int) -> dict[str, Tensor]:
        """role -> logit [N] of each member."""
        return {role: self.heads[role](self.backbones[role](image), label) for role in self.members(step)}

    def generator_terms(self, fake: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weighted loss of the generator by each member."""
        target = self.settings.target
        return {role: self.settings.weight * cross_entropy(logit, target) for role, logit in fake.items()}

    def discriminator_terms(self, real: Mapping[str, Tensor], fake: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The loss of each member's head."""
        target = self.settings.target
        return {role: cross_entropy(real[role], target) + cross_entropy(fake[role], 0.0) for role in real}


def cross_entropy(logit: Tensor, target: float) -> Tensor:
    """Binary cross-entropy of logits [N] with one target for all."""
    return F.binary_cross_entropy_with_logits(logit.float(), torch.full_like(logit, target, dtype=torch.float32))


def accuracy(real: Mapping[str, Tensor], fake: Mapping[str, Tensor]) -> dict[str, Any]:
    """Share of images that each head tells right: 1 says that the generator cannot follow, 0.5 that the head sees nothing."""
    return {f"{role}_accuracy": ((real[role] > 0).float().mean() + (fake[role] <= 0).float().mean()) / 2 for role in real}
