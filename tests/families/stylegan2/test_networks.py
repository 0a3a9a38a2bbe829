"""StyleGAN2's networks: published counts, the paper's equations, and published files there and back."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from components.families.stylegan2.networks.blocks import FILTER, ModulatedConv2d, blur, enlarge, minibatch_deviation
from components.families.stylegan2.networks.stylegan2 import StyleGAN2, mean_style

SMALL = {"image_size": 16, "channels": 3, "latent_dim": 5, "style_dim": 6, "mapping_layers": 2, "base": 64, "max_width": 8}
PUBLISHED = [  # settings, generator, discriminator: NVIDIA's and rosinality's networks
    ({"image_size": 1024}, 30_370_060, 29_012_513),
    ({"image_size": 256, "base": 16384}, 24_767_458, 24_001_089),
    ({"image_size": 32, "mapping_layers": 2, "discriminator": "plain"}, 19_947_539, 20_720_641),
    ({"image_size": 32, "mapping_layers": 2, "discriminator": "plain", "class_condition": True}, 20_215_315, 23_089_664),
]


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("options", "generator", "discriminator"), PUBLISHED)
def test_parameter_counts_are_the_published_ones(options, generator, discriminator):
    with torch.device("meta"):
        networks = StyleGAN2(channels=3, num_classes=10, **options)
    assert (count(networks.generator), count(networks.discriminator)) == (generator, discriminator)


@pytest.mark.parametrize("upsample", [False, True])
def test_modulation_is_equation_1_and_3_with_the_weights_of_each_image(upsample):
    """Scaled and demodulated weights, convolved image by image."""
    torch.manual_seed(0)
    layer = ModulatedConv2d(3, 4, 3, 5, demodulate=True, upsample=upsample).double()
    x, style = torch.randn(2, 3, 6, 6).double(), torch.randn(2, 5).double()
    scales, expected = layer.modulation(style), []
    for image, s in zip(x, scales, strict=True):
        weight = layer.weight / math.sqrt(3 * 9) * s[None, :, None, None]
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if upsample:
            wide = F.conv_transpose2d(image[None], weight.transpose(0, 1), stride=2)
            row = torch.tensor(FILTER).double()
            kernel = (4 * torch.outer(row, row) / row.sum() ** 2)[None, None]
            expected.append(F.conv2d(F.pad(wide, [1, 1, 1, 1]).transpose(0, 1), kernel).transpose(0, 1))
        else:
            expected.append(F.conv2d(image[None], weight, padding=1))
    torch.testing.assert_close(layer(x, style), torch.cat(expected), rtol=1e-9, atol=1e-9)


def test_filters_keep_a_flat_image_flat_and_its_size_right():
    flat = torch.full((1, 2, 8, 8), 3.0)
    big = enlarge(flat)
    assert big.shape == (1, 2, 16, 16)
    torch.testing.assert_close(big[:, :, 2:-2, 2:-2], torch.full((1, 2, 12, 12), 3.0))
    small = blur(flat, 1, stride=2)
    assert small.shape == (1, 2, 4, 4)
    torch.testing.assert_close(small[:, :, 1:-1, 1:-1], torch.full((1, 2, 2, 2), 3.0))


def test_minibatch_deviation_is_of_consecutive_groups():
    torch.manual_seed(0)
    x = torch.randn(4, 3, 2, 2)
    planes = minibatch_deviation(x, 2)[:, 3]
    for first in (0, 2):
        expected = (x[first : first + 2].var(0, unbiased=False) + 1e-8).sqrt().mean()
        torch.testing.assert_close(planes[first : first + 2], expected.expand(2, 2, 2))
    assert not torch.equal(planes[0], planes[2])
    with pytest.raises(ValueError, match="not a multiple of the minibatch deviation's group of 4"):
        minibatch_deviation(torch.randn(6, 3, 2, 2), 4)


def test_styles_reach_their_own_layers():
    """A style of layer l changes nothing before it: the gradient of the smallest image is 0 for all later layers."""
    torch.manual_seed(0)
    generator = StyleGAN2(num_classes=0, **SMALL).generator
    styles = torch.randn(1, generator.num_styles, 6, requires_grad=True)
    assert generator.num_styles == 6  # two per side from 8 px, two at 4 px
    x = generator.conv1(generator.input(styles), styles[:, 0], generator.noise_planes(None)[0])
    (gradient,) = torch.autograd.grad(generator.to_rgb1(x, styles[:, 1]).sum(), styles)
    assert [bool(row.abs().sum() > 0) for row in gradient[0]] == [True, True, False, False, False, False]
    (gradient,) = torch.autograd.grad(generator.synthesise(styles).sum(), styles)
    assert all(row.abs().sum() > 0 for row in gradient[0])


def test_mixed_styles_change_over_at_the_crossover():
    generator = StyleGAN2(num_classes=0, **SMALL).generator
    mixed = generator.mixed(torch.zeros(1, 6), torch.ones(1, 6), 2)
    assert mixed[0, :, 0].tolist() == [0, 0, 1, 1, 1, 1]


def test_the_class_reaches_both_networks():
    torch.manual_seed(0)
    networks = StyleGAN2(num_classes=3, class_condition=True, **SMALL)
    latent, image = torch.randn(1, 5).expand(2, -1), torch.randn(1, 3, 16, 16).expand(2, -1, -1, -1)
    label = torch.tensor([0, 2])
    assert not torch.allclose(*networks.generator.mapping(latent, label))
    assert networks.discriminator(image, label).unique().numel() == 2


def nvidia_layout(networks):
    """The tensors of both networks under NVIDIA's names and in its shapes, written by hand from its modules' attributes."""
    g, d = networks.generator, networks.discriminator
    state = {"G_ema": {"mapping.w_avg": torch.zeros(6)}, "D": {}}
    for index, layer in enumerate(list(g.mapping.style)[1:]):
        state["G_ema"] |= {f"mapping.fc{index}.{name}": value for name, value in layer.state_dict().items()}
    state["G_ema"]["synthesis.b4.const"] = g.input.input[0]
    layers = {
        4: {"conv1": g.conv1},
        8: {"conv0": g.convs[0], "conv1": g.convs[1]},
        16: {"conv0": g.convs[2], "conv1": g.convs[3]},
    }
    numbers = {("conv1", 4): 0, ("conv0", 8): 1, ("conv1", 8): 2, ("conv0", 16): 3, ("conv1", 16): 4}
    for side, named in layers.items():
        for name, layer in named.items():
            at = f"synthesis.b{side}.{name}"
            state["G_ema"] |= {
                f"{at}.weight": layer.conv.weight,
                f"{at}.affine.weight": layer.conv.modulation.weight,
                f"{at}.affine.bias": layer.conv.modulation.bias,
                f"{at}.noise_strength": layer.noise.weight[0],
                f"{at}.bias": layer.activate.bias,
                f"{at}.noise_const": g.noises.get_buffer(f"noise_{numbers[name, side]}")[0, 0],
                f"{at}.resample_filter": torch.ones(4, 4),
            }
    for side, layer in zip((4, 8, 16), (g.to_rgb1, *g.to_rgbs), strict=True):
        at = f"synthesis.b{side}.torgb"
        state["G_ema"] |= {f"{at}.weight": layer.conv.weight, f"{at}.bias": layer.bias.flatten()}
        state["G_ema"] |= {f"{at}.affine.{name}": value for name, value in layer.conv.modulation.state_dict().items()}
    for side, block in zip((16, 8), list(d.convs)[1:], strict=True):
        for name, layer, first in (("conv0", block.conv1, 0), ("conv1", block.conv2, 1)):
            state["D"] |= {f"b{side}.{name}.weight": layer[first].weight, f"b{side}.{name}.bias": layer[first + 1].bias}
        state["D"][f"b{side}.skip.weight"] = block.skip[1].weight
    state["D"] |= {"b16.fromrgb.weight": d.convs[0][0].weight, "b16.fromrgb.bias": d.convs[0][1].bias}
    state["D"] |= {"b4.conv.weight": d.final_conv[0].weight, "b4.conv.bias": d.final_conv[1].bias}
    for name, layer in (("fc", d.final_linear[0]), ("out", d.final_linear[1])):
        state["D"] |= {f"b4.{name}.{key}": value for key, value in layer.state_dict().items()}
    return {part: {key: value.detach() for key, value in tensors.items()} for part, tensors in state.items()}


def rosinality_layout(networks):
    """Its files have filters as buffers, modulated weights with a leading axis, and no ``mapping.``."""
    parts = {}
    for part, network in (("g_ema", networks.generator), ("d", networks.discriminator)):
        state = {key.removeprefix("mapping."): value.clone() for key, value in network.state_dict().items()}
        modulated = [key for key in state if key.endswith("conv.weight")]
        parts[part] = state | {key: state[key][None] for key in modulated} | {"convs.0.conv.blur.kernel": torch.ones(4, 4)}
    return parts


@pytest.mark.parametrize("layout", [nvidia_layout, rosinality_layout])
def test_published_files_give_the_same_networks(layout):
    torch.manual_seed(0)
    one, other = (StyleGAN2(num_classes=0, **SMALL) for _ in range(2))
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.add_(torch.randn(parameter.shape))
    fitted = other.load_published(layout(one))
    assert fitted.lines("fresh") == []
    latent, image = torch.randn(2, 5), torch.randn(2, 3, 16, 16)
    assert torch.equal(one.generator(latent), other.generator(latent))
    assert torch.equal(one.discriminator(image), other.discriminator(image))


def test_a_file_with_the_generator_alone_says_that_the_discriminator_starts_fresh():
    torch.manual_seed(0)
    one, other = (StyleGAN2(num_classes=0, **SMALL) for _ in range(2))
    before = other.discriminator.state_dict()["final_linear.1.weight"].clone()
    fitted = other.load_published({"g_ema": rosinality_layout(one)["g_ema"]})
    assert fitted.lines("fresh") == ["discriminator: not in the file: starts fresh"]
    assert torch.equal(other.discriminator.state_dict()["final_linear.1.weight"], before)


def test_a_file_for_another_size_is_refused_and_changes_nothing():
    torch.manual_seed(0)
    one, other = StyleGAN2(num_classes=0, **SMALL), StyleGAN2(num_classes=0, **SMALL | {"image_size": 32})
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(ValueError, match="convs"):
        other.load_published(rosinality_layout(one))
    assert all(torch.equal(before[name], tensor) for name, tensor in other.state_dict().items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 24}, "image_size: 24 is not allowed: a power of two"),
        ({"discriminator": "deep"}, "discriminator: 'deep' is not allowed"),
        ({"mapping_layers": 0}, "mapping_layers: 0 is not allowed"),
    ],
)
def test_impossible_networks_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        StyleGAN2(num_classes=0, **SMALL | options)


def test_the_mean_style_is_the_mean_of_the_mapping_network():
    torch.manual_seed(0)
    generator = StyleGAN2(num_classes=0, **SMALL).generator
    found = generator.mapping(torch.randn(20_000, 5)).mean(0)
    np.testing.assert_allclose(mean_style(generator).numpy(), found.detach().numpy(), atol=0.03)
