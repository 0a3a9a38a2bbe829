"""The weights of the side that a step must leave alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """Within it the networks' weights ask for no gradient: none is computed, those that they hold stay as they are.

    Gradients still pass through the networks to what was put into them. Weights that are never trained stay so.
    """
    held = [parameter for network in networks for parameter in network.parameters() if parameter.requires_grad]
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)
