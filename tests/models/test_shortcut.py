"""A shortcut's projection: the numbers of torch's own convolution, and gradients that stay within their memory."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from workbench import ROOT, environment

from components.networks.resnets.shortcut import SAFE_CHANNELS, Subsampled, projection

# A process of its own: where torch writes beyond a tensor, glibc ends it.
TRAINED = """
import torch
from components.families.detr.network.backbone import Backbone
from components.networks.resnets.resnet18 import ResNet18
torch.set_num_threads(1)
for network, size in (
    (ResNet18(image_size=64, channels=1, num_classes=4, width=8), 64),
    (Backbone(1, 18, norm="group", width=8, stages=3, levels=1), 256),
):
    network.to(memory_format=torch.channels_last).train()
    for _ in range(3):
        found = network(torch.randn(2, 1, size, size).to(memory_format=torch.channels_last))
        first = found[0] if isinstance(found, tuple | list) else found
        first.sum().backward()
        network.zero_grad()
"""


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 10)])
def test_the_numbers_and_gradients_are_those_of_the_convolution(height, width):
    torch.manual_seed(0)
    ours = projection(5, 6, 2).double()
    theirs = nn.Conv2d(5, 6, 1, 2, bias=False).double()
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(3, 5, height, width, dtype=torch.float64)
    found, wanted = ours(images), theirs(images)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    (found**2).sum().backward()
    (wanted**2).sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=1e-12, atol=1e-12)


def test_only_narrow_ones_with_a_stride_are_subsampled():
    assert type(projection(SAFE_CHANNELS - 1, 32, 2)) is Subsampled
    assert type(projection(SAFE_CHANNELS, 32, 2)) is nn.Conv2d
    assert type(projection(4, 32, 1)) is nn.Conv2d


def test_narrow_networks_train_on_larger_pictures():
    done = subprocess.run(
        [sys.executable, "-c", TRAINED], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
