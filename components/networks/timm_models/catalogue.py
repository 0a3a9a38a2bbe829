"""timm's catalogue: which networks there are, how one is built, and which images it takes."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

NEAREST = 5  # names in a message
MISSING = "name: timm needs its package, which is not installed: `.venv/bin/python -m pip install timm`"


def import_timm() -> Any:
    """Import timm. ValueError says how to get it, or why the installed one cannot be imported."""
    try:
        import timm
    except Exception as error:  # a torchvision of another torch raises whatever it raises
        if isinstance(error, ModuleNotFoundError) and error.name == "timm":
            raise ValueError(MISSING) from None
        raise ValueError(f"name: the installed timm cannot be imported ({first_line(error)})") from error
    return timm


def require_variant(variant: str, *, pretrained: bool) -> None:
    """Raise ValueError unless timm has a network ``variant`` and, if ``pretrained``, weights for it."""
    timm = import_timm()
    architectures = timm.list_models()
    if not variant:
        raise ValueError(f"variant: missing; the name of one of timm's {len(architectures):,} networks, e.g. convnext_tiny")
    architecture, _, tag = variant.partition(".")
    if architecture not in architectures:
        raise ValueError(f"variant: timm has no {variant!r}; {nearest(architecture, architectures)}")
    if not (tag or pretrained):
        return
    weights = [name for name in timm.list_models(pretrained=True) if name.partition(".")[0] == architecture]
    if not weights:
        raise ValueError(f"pretrained: timm has no weights for {architecture}")
    if tag and variant not in weights:
        raise ValueError(f"variant: timm has no {variant!r}; {nearest(variant, weights)}")


def nearest(name: str, names: list[str]) -> str:
    """Return the names that are most like ``name``, for a message; those that begin alike if none is near."""
    close = difflib.get_close_matches(name, names, n=NEAREST, cutoff=0.5)
    alike = close or [other for other in names if other.startswith(name[:3])][:NEAREST]
    return f"the nearest are {', '.join(alike)}" if alike else "`timm.list_models()` lists them"


def options_for(variant: str, channels: int, size: tuple[int, int], rates: Mapping[str, float]) -> dict[str, Any]:
    """Return the arguments of ``create`` for images of ``size``, which networks with positions or windows must be given."""
    with torch.device("meta"):
        network = create(variant, channels, rates)
    fixed = network.pretrained_cfg.get("fixed_input_size", False)
    return {**rates, "img_size": size} if fixed else dict(rates)


def create(variant: str, channels: int, options: Mapping[str, Any]) -> Any:
    """Build timm's network without its last linear layer. ValueError if it does not take the options."""
    with in_one_line(f"variant: {variant} cannot be built with {', '.join(options) or 'no options'}"):
        return import_timm().create_model(variant, pretrained=False, in_chans=channels, num_classes=0, **options)


def measure(variant: str, channels: int, size: tuple[int, int], options: Mapping[str, Any]) -> tuple[Tensor, int]:
    """Return (what the network's ``forward_features`` returns for two images, F), without memory.

    ValueError for a network that does not take such images, or whose features are not [N, F].
    """
    with torch.device("meta"), torch.no_grad():
        network = create(variant, channels, options).eval()
        with in_one_line(f"variant: {variant} does not take images of {size[0]} x {size[1]} with {channels} channel(s)"):
            maps = network.forward_features(torch.empty(2, channels, *size))
            features = network.forward_head(maps, pre_logits=True)
    if not isinstance(features, Tensor) or features.dim() != 2:
        raise ValueError(f"variant: {variant} is no classifier with one vector of features per image")
    return maps, features.shape[1]


@contextmanager
def in_one_line(fault: str) -> Iterator[None]:
    """Raise ValueError with ``fault`` and the first line of the reason for any error of timm's."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{fault} ({first_line(error)})") from error


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
