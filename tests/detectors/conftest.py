"""One random classifier's features for all detectors, and a toy classifier whose unknown images are easy to tell."""

import pytest
import torch
from detectors.known import Known, make_known
from torch import Tensor

from components.detectors.shared.protocol import Head

CLASSES, FEATURES, IMAGES = 5, 24, 300


@pytest.fixture(scope="module")
def known() -> Known:
    """Correlated activations of random float64 numbers, some negative; labels that the classifier often misses."""
    torch.manual_seed(0)
    mix = torch.randn(FEATURES, FEATURES, dtype=torch.float64)
    labels = torch.randint(CLASSES, (IMAGES,))
    means = 3 * torch.randn(CLASSES, FEATURES, dtype=torch.float64)
    features = torch.nn.functional.leaky_relu(torch.randn(IMAGES, FEATURES, dtype=torch.float64) @ mix + means[labels])
    new = torch.nn.functional.leaky_relu(torch.randn(40, FEATURES, dtype=torch.float64) @ mix + 1)
    head = Head(torch.randn(CLASSES, FEATURES, dtype=torch.float64) / 5, torch.rand(CLASSES, dtype=torch.float64) + 4)
    return make_known(features, labels, head, new)


@pytest.fixture(scope="module")
def toy() -> Known:
    """Each class lights four units of its own; the first 200 new images do, the other 200 light all units a little."""
    torch.manual_seed(0)
    units = torch.eye(4).repeat_interleave(4, dim=1)  # [4 classes, 16 units]
    labels = torch.arange(800) % 4

    def images(labels: Tensor) -> Tensor:
        return (2 * units[labels] + 0.3 * torch.randn(len(labels), 16)).relu()

    unknown = (0.7 * torch.randn(200, 16)).relu()
    return make_known(images(labels), labels, Head(units, torch.full((4,), -2.0)), torch.cat([images(labels[:200]), unknown]))
