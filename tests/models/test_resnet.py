"""ResNet in torchvision's layout: published sizes, and plain convolutions that read the layout."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from components.networks.resnets.resnet import BLOCKS, BasicBlock, Bottleneck, ResNet


def build(**settings):
    torch.manual_seed(0)
    return ResNet(**{"image_size": 64, "channels": 3, "num_classes": 4, "variant": 18} | settings).eval()


def published_file(variant):
    """A file in torchvision's layout: random statistics; its last layer is called fc, and no batch is counted."""
    network = build(variant=variant)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    state = {key.replace("head.", "fc."): value.clone() for key, value in network.state_dict().items()}
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}


def by_plain_convolutions(file, image, variant):
    """Logits [N, K]: the stride of a bottleneck is in its 3x3 convolution."""

    def layer(conv, norm, x, stride=1):
        kernel = file[f"{conv}.weight"]
        x = F.conv2d(x, kernel, None, stride, kernel.shape[-1] // 2)
        kinds = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(file[f"{norm}.{kind}"] for kind in kinds), training=False)

    x = F.max_pool2d(layer("conv1", "bn1", image, 2).relu(), 3, 2, 1)
    strided = 1 if variant < 50 else 2
    for stage, number in enumerate(BLOCKS[variant], start=1):
        for block in range(number):
            name, stride, branch = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1, x
            for index in range(1, 3 if variant < 50 else 4):
                branch = layer(f"{name}.conv{index}", f"{name}.bn{index}", branch, stride if index == strided else 1)
                branch = branch.relu() if f"{name}.conv{index + 1}.weight" in file else branch
            if f"{name}.downsample.0.weight" in file:
                x = layer(f"{name}.downsample.0", f"{name}.downsample.1", x, stride)
            x = (branch + x).relu()
    return x.mean((2, 3)) @ file["fc.weight"].T + file["fc.bias"]


@pytest.mark.parametrize(("variant", "number"), [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160)])
def test_number_of_parameters_is_torchvision_s(variant, number):
    with torch.device("meta"):
        network = ResNet(image_size=224, channels=3, num_classes=1000, variant=variant)
    assert sum(parameter.numel() for parameter in network.parameters()) == number


@pytest.mark.parametrize("variant", [18, 50])
def test_torchvision_s_file_gives_what_plain_convolutions_give(variant):
    file, network = published_file(variant), build(variant=variant)
    assert network.load_published(file).lines() == []
    image = torch.randn(2, 3, 64, 40, generator=torch.Generator().manual_seed(1))
    wanted = by_plain_convolutions(file, image, variant)
    assert torch.allclose(network(image)[0], wanted, atol=1e-5 * wanted.abs().max().item())


def test_a_file_of_resnet18_for_32_px_is_taken_but_for_its_stem():
    """OpenOOD's and our own: a shortcut is called shortcut there, and the first convolution has 3 x 3 pixels."""
    file = {key.replace("downsample", "shortcut"): value for key, value in published_file(18).items()}
    network = build()
    own = network.conv1.weight.clone()
    fitted = network.load_published(file | {"conv1.weight": torch.ones(64, 3, 3, 3)})
    assert [note.partition(":")[0] for note in fitted.lines()] == ["conv1"]
    assert torch.equal(network.conv1.weight, own)
    assert torch.equal(network.layer2[0].downsample[0].weight, file["layer2.0.shortcut.0.weight"])


@pytest.mark.parametrize(("variant", "kind"), [(34, BasicBlock), (50, Bottleneck)])
def test_with_zero_init_each_block_starts_as_its_shortcut(variant, kind):
    blocks = [module for module in build(variant=variant, zero_init=True).modules() if isinstance(module, kind)]
    assert len(blocks) == sum(BLOCKS[variant])
    for block in blocks:
        x = torch.randn(1, block.conv1.in_channels, 4, 4)
        assert torch.equal(block(x), block.downsample(x).relu())
    plain = next(module for module in build(variant=variant).modules() if isinstance(module, kind))
    assert not torch.equal(plain(x := torch.randn(1, 64, 4, 4)), plain.downsample(x).relu())


def test_another_depth_is_refused():
    with torch.device("meta"), pytest.raises(ValueError, match=r"^variant: 152 is not allowed: 18, 34, 50, 101"):
        build(variant=152)
