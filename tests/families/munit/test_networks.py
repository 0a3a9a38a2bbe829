"""MUNIT against its equations, its published sizes and names; constant images, bf16 and ONNX."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from components.families.munit.networks import MUNIT
from components.networks.translator_blocks import (
    InstanceNorm,
    LayerNorm,
    MUNITDiscriminator,
    adaptive_instance_norm,
    field,
    of_domain,
)

TINY = {"image_size": 16, "channels": 2, "width": 4, "downsamplings": 2, "blocks": 2, "mlp_width": 6, "style_downsamplings": 3}


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tiny(**settings) -> MUNIT:
    """In float64, with weights that leave no path unseen."""
    torch.manual_seed(0)
    network = MUNIT(**{**TINY, **settings}).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_numbers_of_parameters_are_the_published_ones() -> None:
    with torch.device("meta"):
        network, discriminator = (kind(image_size=256, channels=3) for kind in (MUNIT, MUNITDiscriminator))
    assert [count(part) for part in (network.enc_style, network.enc_content, network.dec, network.mlp)] == [
        2_764_936, 5_385_856, 5_754_627, 1_120_768]  # fmt: skip
    assert (count(network), count(discriminator)) == (15_026_187, 8_271_171)
    assert 2 * count(network) + 2 * count(discriminator) == 46_594_716


# ------------------------------------------------------------------------------------------------ the two norms


def test_adaptive_instance_norm_s_answer_has_the_style_s_moments() -> None:
    x, shift, scale = 3 * noise(2, 3, 5, 4) + 7, noise(2, 3, seed=2), noise(2, 3, seed=3)
    answer = adaptive_instance_norm(x, shift, scale)
    variance = x.var((2, 3), correction=0)
    assert torch.allclose(answer.mean((2, 3)), shift, atol=1e-12)
    assert torch.allclose(answer.var((2, 3), correction=0), scale**2 * variance / (variance + 1e-5), atol=1e-12)
    pixels = [x[1, 2, i, j].item() for i in range(5) for j in range(4)]
    mean = sum(pixels) / 20
    deviation = (sum((pixel - mean) ** 2 for pixel in pixels) / 20 + 1e-5) ** 0.5
    assert answer[1, 2, 3, 1].item() == pytest.approx((scale[1, 2] * (x[1, 2, 3, 1] - mean) / deviation + shift[1, 2]).item())


def test_layer_norm_divides_by_the_unbiased_deviation_plus_epsilon() -> None:
    norm, x = LayerNorm(3).double(), 1e-3 * noise(2, 3, 5, 4) + 7  # a small deviation shows where the epsilon stands
    assert (norm.gamma.min() >= 0, norm.gamma.max() <= 1, norm.beta.abs().max() == 0) == (True, True, True)
    nn.init.normal_(norm.beta)
    values = x[1].flatten().tolist()
    mean = sum(values) / 60
    deviation = (sum((value - mean) ** 2 for value in values) / 59) ** 0.5
    wanted = norm.gamma[2] * (x[1, 2, 3, 1] - mean) / (deviation + 1e-5) + norm.beta[2]
    assert norm(x)[1, 2, 3, 1].item() == pytest.approx(wanted.item(), rel=1e-9)


def test_an_image_of_one_colour_gives_finite_gradients() -> None:
    """The deviation of equal values is 0, where the root of the variance would have an infinite gradient."""
    norm, x = LayerNorm(3), torch.full((2, 3, 4, 4), 0.5, requires_grad=True)
    (norm(x) ** 3 + InstanceNorm()(x) ** 3).sum().backward()
    assert torch.equal(norm(x), torch.zeros(2, 3, 4, 4))
    assert all(torch.isfinite(tensor.grad).all() for tensor in (x, norm.gamma, norm.beta))


def test_a_norm_sees_its_own_image_alone_and_is_the_same_in_evaluation() -> None:
    network, image = tiny(), noise(3, 2, 16, 16)
    with torch.no_grad():
        together, apart = network(image), torch.cat([network(image[i : i + 1]) for i in range(3)])
        assert torch.allclose(together, apart, atol=1e-10)
        assert torch.equal(network.eval()(image), together)


# ------------------------------------------------------------------------------------------------ the equations


def convolve(w: dict[str, Tensor], name: str, x: Tensor, stride: int = 1) -> Tensor:
    kernel = w[f"{name}.weight"]
    border = (kernel.shape[-1] - 1) // 2
    rows = np.pad(x.numpy(), ((0, 0), (0, 0), (border, border), (border, border)), mode="reflect")
    return F.conv2d(torch.from_numpy(rows), kernel, w[f"{name}.bias"], stride)


def normed(x: Tensor) -> Tensor:
    return (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), correction=0, keepdim=True) + 1e-5).sqrt()


def content_by_equations(w: dict[str, Tensor], x: Tensor) -> Tensor:
    for i, stride in enumerate((1, 2, 2)):
        x = normed(convolve(w, f"enc_content.model.{i}.conv", x, stride)).relu()
    for name in ("enc_content.model.3.model.0.model", "enc_content.model.3.model.1.model"):
        h = normed(convolve(w, f"{name}.0.conv", x)).relu()
        x = x + normed(convolve(w, f"{name}.1.conv", h))
    return x


def style_by_equations(w: dict[str, Tensor], x: Tensor) -> Tensor:
    for i, stride in enumerate((1, 2, 2, 2)):
        x = convolve(w, f"enc_style.model.{i}.conv", x, stride).relu()
    return x.mean((2, 3)) @ w["enc_style.model.5.weight"][:, :, 0, 0].T + w["enc_style.model.5.bias"]


def image_by_equations(w: dict[str, Tensor], x: Tensor, style: Tensor) -> Tensor:
    h = style
    for i in range(3):
        h = h @ w[f"mlp.model.{i}.fc.weight"].T + w[f"mlp.model.{i}.fc.bias"]
        h = h.relu() if i < 2 else h
    styles = [part[:, :, None, None] for part in h.split(16, 1)]  # shift, scale, shift, ...
    for i, name in ((0, "dec.model.0.model.0.model"), (4, "dec.model.0.model.1.model")):
        h = (normed(convolve(w, f"{name}.0.conv", x)) * styles[i + 1] + styles[i]).relu()
        x = x + normed(convolve(w, f"{name}.1.conv", h)) * styles[i + 3] + styles[i + 2]
    for i in (2, 4):
        h = convolve(w, f"dec.model.{i}.conv", x.repeat_interleave(2, 2).repeat_interleave(2, 3))
        h = (h - h.mean((1, 2, 3), keepdim=True)) / (h.std((1, 2, 3), keepdim=True) + 1e-5)
        x = (h * w[f"dec.model.{i}.norm.gamma"][:, None, None] + w[f"dec.model.{i}.norm.beta"][:, None, None]).relu()
    return convolve(w, "dec.model.5.conv", x).tanh()


def published_file() -> dict[str, dict[str, Tensor]]:
    """A ``gen_*.pt``: both domains, AdaIN's idle buffers, and the running statistics that old instance norms left."""
    file = {}
    for domain, seed in (("a", 5), ("b", 6)):
        state = {key: 0.3 * noise(*value.shape, seed=seed) for key, value in tiny().state_dict().items()}
        idle = {f"dec.model.0.model.0.model.{i}.norm.running_{kind}": noise(16) for i in (0, 1) for kind in ("mean", "var")}
        file[domain] = {**state, **idle, "enc_content.model.1.norm.running_mean": noise(8)}
    return file


def test_a_published_file_s_tensors_mean_what_the_equations_say() -> None:
    network, state, image = tiny(), of_domain(published_file(), "b"), noise(3, 2, 16, 16)
    assert network.load_published(state).lines() == []
    with torch.no_grad():
        content, style = network.encode(image)
        assert content.shape == (3, 16, 4, 4)
        assert torch.allclose(content, content_by_equations(state, image), atol=1e-9)
        assert torch.allclose(style, style_by_equations(state, image), atol=1e-9)
        other = style.flip(0)
        assert torch.allclose(network.decode(content, other), image_by_equations(state, content, other), atol=1e-9)
        assert torch.equal(network(image), network.decode(content, style))


def test_a_file_that_does_not_fit_is_refused_whole() -> None:
    network, file = tiny(), published_file()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ValueError, match="domain 'c': not in the published file; its domains: a, b"):
        of_domain(file, "c")
    del file["a"]["dec.model.2.norm.gamma"]
    with pytest.raises(ValueError, match=r"1 missing: dec\.model\.2\.norm\.gamma"):
        network.load_published(file["a"])
    with pytest.raises(ValueError, match=r"mlp\.model\.0\.fc\.weight \(6, 8\) instead of \(6, 3\)"):
        tiny(style_width=3).load_published(file["b"])
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_the_start_is_the_published_one() -> None:
    torch.manual_seed(0)
    network, discriminator = (kind(image_size=32, channels=3, width=32) for kind in (MUNIT, MUNITDiscriminator))
    assert network.enc_content.model[2].conv.weight.std().item() == pytest.approx((2 / (64 * 16)) ** 0.5, rel=0.02)
    assert network.mlp.model[2].fc.weight.std().item() == pytest.approx((2 / 256) ** 0.5, rel=0.02)
    assert discriminator.cnns[0][2].conv.weight.std().item() == pytest.approx(0.02, rel=0.02)
    biases = [value for key, value in [*network.named_parameters(), *discriminator.named_parameters()] if key.endswith("bias")]
    assert all(not bias.any() for bias in biases)


def test_content_and_style_reach_the_image_and_gradient_every_parameter() -> None:
    network, image = tiny(), noise(2, 2, 16, 16)
    network(image).square().sum().backward()
    assert [key for key, value in network.named_parameters() if value.grad is None or not value.grad.any()] == []
    with torch.no_grad():
        content, style = network.encode(image)
        answer = network.decode(content, style)
        for changed in (network.decode(content.flip(0), style), network.decode(content, style.flip(0))):
            assert (changed - answer).abs().flatten(1).max(1).values.min() > 1e-3


# ------------------------------------------------------------------------------------------------ the discriminator


def test_each_scale_is_the_image_halved_by_means_of_what_lies_inside() -> None:
    torch.manual_seed(0)
    network = MUNITDiscriminator(image_size=13, channels=1, width=2, layers=2, scales=2).double()
    image = noise(2, 1, 13, 13)
    half = torch.zeros(2, 1, 7, 7, dtype=torch.float64)
    for i in range(7):
        for j in range(7):
            half[:, :, i, j] = image[:, :, max(2 * i - 1, 0) : 2 * i + 2, max(2 * j - 1, 0) : 2 * j + 2].mean((2, 3))
    w = {key: value.detach() for key, value in network.state_dict().items()}
    for i, (x, scores) in enumerate(zip((image, half), network(image), strict=True)):
        h = x
        for layer in (0, 1):
            h = convolve(w, f"cnns.{i}.{layer}.conv", h, 2)
            h = torch.where(h > 0, h, 0.2 * h)
        wanted = F.conv2d(h, w[f"cnns.{i}.2.weight"], w[f"cnns.{i}.2.bias"])
        assert scores.shape == (2, 1, 3 - 2 * i, 3 - 2 * i)
        assert torch.allclose(scores, wanted, atol=1e-12)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_field_is_what_a_score_s_gradient_reaches(layers) -> None:
    network, image = MUNITDiscriminator(image_size=64, channels=1, width=1, layers=layers, scales=1), torch.zeros(1, 1, 64, 64)
    for parameter in network.parameters():
        nn.init.ones_(parameter)
    (scores,) = network(image.requires_grad_())
    middle = scores.shape[-1] // 2
    scores[0, 0, middle, middle].backward()
    assert image.grad.any(dim=2).sum() == field(layers)


@pytest.mark.parametrize(
    ("size", "layers", "scales"), [(16, 3, 1), (28, 3, 2), (32, 3, 2), (64, 4, 2), (128, 4, 3), (256, 4, 3)]
)
def test_layers_and_scales_follow_the_size(size, layers, scales) -> None:
    with torch.device("meta"):
        network = MUNITDiscriminator(image_size=size, channels=3)
        maps = network(torch.zeros(1, 3, size, size))
    assert (len(network.cnns[0]) - 1, len(network.cnns)) == (layers, scales)
    assert len(maps) == scales
    assert MUNITDiscriminator(image_size=size, channels=3, width=1)(torch.zeros(1, 3, size, size))[-1].numel() >= 1


def test_every_size_that_is_not_refused_works_and_the_next_smaller_fails() -> None:
    for layers, scales in [(4, 3), (3, 2), (2, 3), (1, 1)]:
        least = next(size for size in range(1, 99) if not refuses(size, layers, scales))
        network = MUNITDiscriminator(image_size=99, channels=1, width=1, layers=layers, scales=scales)
        network(torch.zeros(1, 1, least, least))
        with pytest.raises(RuntimeError, match="Padding size"):
            network(torch.zeros(1, 1, least - 1, least - 1))


def refuses(size: int, layers: int, scales: int) -> bool:
    try:
        MUNITDiscriminator(image_size=size, channels=1, width=1, layers=layers, scales=scales)
    except ValueError:
        return True
    return False


# ------------------------------------------------------------------------------------------------ sizes, bf16, export


@pytest.mark.parametrize("size", [28, 32, 64])
def test_reconstructions_have_the_image_s_size(size) -> None:
    network, image = MUNIT(image_size=size, channels=1, width=2, blocks=1), torch.zeros(1, 1, size, size)
    assert network(image).shape == image.shape
    assert len(network.enc_style.model) - 3 == (4 if size == 64 else 3)


@pytest.mark.parametrize(
    ("kind", "settings", "told"),
    [
        (MUNIT, {"image_size": 30}, "image_size: 30 is not a multiple of 4, .* 28 and 32 are"),
        (MUNIT, {"image_size": 8, "downsamplings": 3}, "image_size: 8 is too small for downsamplings: 3, which needs 16"),
        (MUNIT, {"style_downsamplings": 6}, "image_size: 32 is too small for style_downsamplings: 6, which needs 64"),
        (MUNIT, {"downsamplings": -1}, "downsamplings: -1 is not allowed: 0 or more"),
        (MUNIT, {"style_width": 0}, "style_width: 0 is not allowed: at least 1"),
        (
            MUNITDiscriminator,
            {"layers": 4, "scales": 3},
            "image_size: 32 is too small for layers: 4 and scales: 3, .* 61 pixels",
        ),
        (MUNITDiscriminator, {"scales": 0}, "scales: 0 is not allowed: at least 1"),
    ],
)
def test_bad_settings_say_what_is_allowed(kind, settings, told) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=told):
        kind(**{"image_size": 32, "channels": 3, **settings})


def test_bf16_autocast_keeps_the_norms_sums_in_float32() -> None:
    norm, x = LayerNorm(4), 100 + noise(2, 4, 8, 8).float()
    near = x.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for layer in (norm, InstanceNorm()):
            assert torch.equal(layer(near), layer(near.float()).bfloat16())
    network, image = tiny().float(), noise(2, 2, 16, 16).float()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        answer = network(image)
    assert answer.dtype == torch.float32
    assert (answer - network(image)).abs().mean() < 0.05
