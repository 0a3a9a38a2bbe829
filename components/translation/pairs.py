"""What MUNIT and UNIT have in common: two domains, each with an auto-encoder and a discriminator of its own.

A list by domain holds domain 0's and domain 1's; ``other`` of 0 is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam

from components.adversarial.losses import least_squares_discriminator, least_squares_generator
from components.core.batch import Batch, ViewFacts
from components.core.settings import RunSettings
from components.core.strict import Strict
from components.networks.multiscale_discriminator import MUNITDiscriminator
from components.networks.published import load_fitting
from components.networks.translator_blocks import of_domain, wide
from components.translation.border import check_batch, domains_of

if TYPE_CHECKING:
    from components.core.artifact import Artifact

PUBLISHED = ("a", "b")  # domain 0 and 1 in the published files
LARGE = 128  # pixels: from here on memory counts for more than a fifth of the time
ROLES = {"init": "autoencoders", "init_discriminator": "discriminators"}  # role of a link -> what it starts


class DiscriminatorSettings(Strict):
    """Of both domains' discriminators, models/munit_discriminator.py; null follows the view's size."""

    width: int = Field(default=64, ge=1, description="channels of the first layer")
    layers: int | None = Field(default=None, ge=1, description="that halve the sides")
    scales: int | None = Field(default=None, ge=1, description="of the image, each with a network of its own")

    def network(self, image_size: int, channels: int) -> MUNITDiscriminator:
        """ValueError where it does not fit the size."""
        try:
            return MUNITDiscriminator(image_size=image_size, channels=channels, **self.model_dump())
        except ValueError as error:
            raise ValueError(f"train.discriminator: {error}") from None


class PairSettings(Strict):
    """What both recipes' ``train`` blocks hold. ``batch_size``: images of both domains together."""

    batch_size: int = Field(ge=2)
    learning_rate: float = Field(default=1e-4, gt=0, description="Adam's, of both sides, at the top of the schedule")
    momentum: float = Field(default=0.5, ge=0, lt=1, description="Adam's beta_1")
    weight_decay: float = Field(default=1e-4, ge=0, description="Adam's, added to the gradient")
    discriminator: DiscriminatorSettings = DiscriminatorSettings()
    share_forward: bool | None = Field(
        default=None, description="one forward pass for both halves of a step: faster, more memory; null: below 128 pixels"
    )

    def shares(self, image_size: int) -> bool:
        """Whether images of this size go through once."""
        return image_size < LARGE if self.share_forward is None else self.share_forward


def adam(networks: nn.Module, settings: PairSettings) -> Adam:
    """Of one side."""
    betas = (settings.momentum, 0.999)
    rate, decay = settings.learning_rate, settings.weight_decay
    return Adam(networks.parameters(), lr=rate, betas=betas, weight_decay=decay, fused=True)


def other(domain: int) -> int:
    return 1 - domain


def two_domains(view: ViewFacts) -> tuple[str, ...]:
    """The view's two domains; ValueError names them where there are more, or fewer."""
    names = domains_of(view)
    if len(names) > len(PUBLISHED):
        fault = f"view {view.name!r} has {len(names)} domains, {', '.join(names)}: this recipe translates between two"
        raise ValueError(f"{fault}; take a view of two, or the recipe stargan_v2")
    return names


def check_pair(settings: RunSettings, view: Any) -> None:
    """What can be said before any work: the network is the recipe's, the discriminators fit, two domains share the batch."""
    if settings.model.name != settings.recipe:
        raise ValueError(f"model.name: {settings.model.name!r} is not allowed: a {settings.recipe} run has {settings.recipe}")
    if settings.train.compile:  # encode and decode are called, not forward: it would change nothing
        raise ValueError(f"train.compile: true is not allowed: nothing of a {settings.recipe} run is compiled")
    check_batch(settings.train.batch_size, settings.train.processes, len(PUBLISHED))
    with torch.device("meta"):
        settings.train.discriminator.network(view.image_size, view.channels)


def by_domain(batch: Batch) -> list[Tensor]:
    """The images [2 n, C, H, W] of a balanced batch -> [n, C, H, W] of each domain, in the batch's order."""
    return list(batch["image"][torch.argsort(batch["domain"], stable=True)].chunk(len(PUBLISHED)))


def discriminators_loss(discriminators: nn.ModuleList, images: Sequence[Tensor], fakes: Sequence[Tensor]) -> Tensor:
    """What the discriminators minimise: LSGAN summed over scales and domains. Real and made images go through in one batch."""
    losses = []
    for discriminator, image, fake in zip(discriminators, images, fakes, strict=True):
        losses += [least_squares_discriminator(*scores.chunk(2)) for scores in discriminator(torch.cat([image, fake]))]
    return torch.stack(losses).sum()


def adversarial_loss(discriminators: nn.ModuleList, fakes: Sequence[Tensor]) -> Tensor:
    """L_GAN as the auto-encoders minimise it (MUNIT, arXiv 1804.04732, eq. 4, by least squares), summed likewise."""
    judged = zip(discriminators, fakes, strict=True)
    return torch.stack([least_squares_generator(s) for discriminator, fake in judged for s in discriminator(fake)]).sum()


def distance(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """E |found - wanted|_1, the mean over the numbers, summed over domains."""
    return torch.stack([(wide(a) - wide(b)).abs().mean() for a, b in zip(found, wanted, strict=True)]).sum()


def start_from(recipe: nn.Module, links: dict[str, Artifact]) -> None:
    """Load linked weights: another run's (both sides, by ``init``), or a published file (one side a link).

    A published ``gen_*.pt`` or ``dis_*.pt`` holds {"a": tensors, "b": tensors}; names that begin with "a." and "b." do as well.
    """
    for role, side in ROLES.items():
        if role in links:
            try:
                load_side(recipe, side, links[role].state_dict())
            except ValueError as error:
                raise ValueError(f"link {role} ({links[role].path}): {error}") from None


def load_side(recipe: nn.Module, side: str, state: dict[str, Any]) -> None:
    """ValueError where ``state`` is neither this recipe's nor a published file that fits; nothing is then changed."""
    if any(name.startswith(f"{side}.") for name in state):
        chosen = {name: w for name, w in state.items() if side == "autoencoders" or name.startswith(f"{side}.")}
        load_fitting(recipe, chosen if side == "autoencoders" else recipe.state_dict() | chosen)
        return
    networks: Any = getattr(recipe, side)
    found = [published_domain(state, domain) for domain in PUBLISHED]
    kept = [{name: w.clone() for name, w in network.state_dict().items()} for network in networks]
    try:
        for network, tensors in zip(networks, found, strict=True):
            network.load_published(tensors)
    except ValueError:
        for network, tensors in zip(networks, kept, strict=True):
            network.load_state_dict(tensors)
        raise


def published_domain(state: dict[str, Any], domain: str) -> dict[str, Tensor]:
    """One domain's tensors, nested or with the domain before each name."""
    flat = {name.removeprefix(f"{domain}."): w for name, w in state.items() if name.startswith(f"{domain}.")}
    return flat or of_domain(state, domain)
