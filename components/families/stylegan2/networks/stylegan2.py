"""Both networks of StyleGAN2 as one module, and the files that are published for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ....networks.published import ClassNames, Fit, Fitted, below
from .discriminator import Discriminator
from .generator import Generator
from .published import from_file

LEAST = 8  # pixels


class StyleGAN2(nn.Module):
    """Generator and discriminator for square images whose side is a power of two.

    ``latent_dim``: numbers of z; ``style_dim``: of a style w; ``mapping_layers``: of the mapping network; ``base``: channels
    times side (32768: configuration F); ``max_width``: most channels of a layer; ``discriminator``: residual, or plain as in
    ADA's CIFAR-10 runs; ``deviation_group``: images that share a minibatch deviation, null: the whole batch;
    ``class_condition``: both networks see the class of an image.
    """

    prefers_fp32: ClassVar[bool] = False

    def __init__(
        self,
        *,
        image_size: int,
        channels: int,
        num_classes: int,
        latent_dim: int = 512,
        style_dim: int = 512,
        mapping_layers: int = 8,
        base: int = 32768,
        max_width: int = 512,
        discriminator: Literal["residual", "plain"] = "residual",
        deviation_group: int | None = 4,
        class_condition: bool = False,
    ):
        super().__init__()
        _check(image_size, discriminator, base=base, max_width=max_width, latent_dim=latent_dim, style_dim=style_dim)
        _check_least("mapping_layers", mapping_layers)
        _check_least("deviation_group", 1 if deviation_group is None else deviation_group)
        classes = num_classes if class_condition else 0
        sizes: dict[str, Any] = {"image_size": image_size, "channels": channels, "num_classes": classes}
        sizes |= {"base": base, "max_width": max_width}
        self.generator = Generator(latent_dim=latent_dim, style_dim=style_dim, mapping_layers=mapping_layers, **sizes)
        self.discriminator = Discriminator(
            kind=discriminator, deviation_group=deviation_group, class_dim=min(512, style_dim), **sizes
        )

    def load_published(self, state: Mapping[str, Any], names: ClassNames | None = None) -> Fitted:
        """Load a file of rosinality's layout (``g_ema`` or ``g``, ``d``), of NVIDIA's (``G_ema`` or ``G``, ``D``), or our own.

        A network that the file lacks starts fresh. ValueError lists what does not fit, and changes nothing.
        """
        found, mean = from_file(state)
        fit = Fit(self, found, names)
        for name in ("generator", "discriminator"):
            if not below(name, found):
                fit.start_fresh(name, "not in the file")
        if below("generator.noises", self.state_dict()) and not below("generator.noises", found) and below("generator", found):
            fit.start_fresh("generator.noises", "the file has no fixed noise")
        if mean:
            fit.leave_out("mean style", [], "it is measured anew when the model is exported")
        return fit.load()


def _check(image_size: int, discriminator: str, **sizes: int) -> None:
    if image_size < LEAST or image_size & (image_size - 1):
        raise ValueError(f"image_size: {image_size} is not allowed: a power of two from {LEAST} up")
    if discriminator not in ("residual", "plain"):
        raise ValueError(f"discriminator: {discriminator!r} is not allowed: residual or plain")
    for name, value in sizes.items():
        _check_least(name, value)


def _check_least(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name}: {value} is not allowed: at least 1")


@torch.no_grad()
def mean_style(generator: Generator, draws: int = 10_000, seed: int = 0) -> Tensor:
    """The mean of w over ``draws`` latent codes, and classes in turn: [S], to which truncation pulls (arXiv 1812.04948, B)."""
    source = torch.Generator().manual_seed(seed)
    mapping = generator.mapping
    weight = next(mapping.parameters())
    total = torch.zeros(mapping.style_dim, dtype=torch.float64)
    for start in range(0, draws, 1000):
        number = min(1000, draws - start)
        latent = torch.randn(number, mapping.latent_dim, generator=source).to(weight)
        label = torch.arange(start, start + number, device=weight.device) % max(1, mapping.num_classes)
        total += mapping(latent, label if mapping.num_classes else None).double().sum(0).cpu()
    return (total / draws).to(weight)
