"""Check that a network can be built with its options, without memory for its weights."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from components.core.config.strict import SettingsError, resolve
from components.core.settings import ModelSettings


def build_without_memory(model: ModelSettings, view: Any, key: str) -> Any:
    """Build and return the network with two classes; SettingsError if its options are inconsistent."""
    from components.networks import MODELS

    network = resolve(MODELS, model.name, key)
    facts = {"image_size": view.image_size, "channels": view.channels, "num_classes": 2}
    known = {name: facts[name] for name in facts if name in inspect.signature(network).parameters}
    return without_memory(lambda: network(**known, **model.options), key)


def without_memory(build: Callable[[], Any], key: str) -> Any:
    """Return the network of ``build`` on torch's meta device; SettingsError below ``key`` for bad options or convolutions."""
    import torch

    try:
        with torch.device("meta"):
            network = build()
    except ValueError as error:
        raise SettingsError(f"{key}.{error}") from None
    check_convolutions(network, key)
    return network


def check_convolutions(network: Any, key: str) -> None:
    """Raise SettingsError for a convolution whose gradient corrupts memory: 1 x 1 with a stride and few channels.

    ``components.networks.resnets.shortcut`` tells of the fault, and how our own networks avoid it; timm's do not.
    """
    from torch import nn

    from components.networks.resnets.shortcut import SAFE_CHANNELS, Subsampled

    for name, layer in network.named_modules():
        if (
            isinstance(layer, nn.Conv2d)
            and layer.kernel_size == (1, 1)
            and max(layer.stride) > 1
            and layer.in_channels < SAFE_CHANNELS
            and not isinstance(layer, Subsampled)
        ):
            fault = (
                f"{name} is a 1 x 1 convolution of {layer.in_channels} channels with a stride, which torch cannot train safely"
            )
            raise SettingsError(
                f"{key}: {fault} on every CPU; at least {SAFE_CHANNELS} channels are needed: make the network wider"
            )
