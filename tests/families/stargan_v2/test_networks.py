"""StarGAN v2 against plain functions that read its files' layout; published sizes; files; small images; export."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from components.core.weights.reading import without_wrappers
from components.families.stargan_v2.blocks import AdaIN
from components.families.stargan_v2.networks import Generator, StarGANv2
from components.networks.published import ClassNames

SMALL = {"image_size": 16, "channels": 3, "num_domains": 3, "width": 4, "max_width": 8, "bottleneck": 8}
NARROW = {**SMALL, "latent_dim": 4, "style_dim": 6, "mapping_width": 8}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def small(seed: int = 0, **settings) -> StarGANv2:
    """Biases and norms are not those of the start."""
    torch.manual_seed(seed)
    network = StarGANv2(**{**NARROW, **settings})
    for parameter in network.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, std=0.5)
    return network


# ------------------------------------------------------------------------------------------------ the layout, read plainly


class File:
    """Tensors of a file in the authors' layout, with the layers of the paper."""

    def __init__(self, state: dict[str, Tensor]):
        self.state = state

    def conv(self, name: str, x: Tensor, padding: int = 0) -> Tensor:
        return F.conv2d(x, self.state[f"{name}.weight"], self.state.get(f"{name}.bias"), padding=padding)

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def norm(self, name: str, x: Tensor, style: Tensor | None = None) -> Tensor:
        """Instance norm, or AdaIN where a style is given; none where the file has none."""
        if style is not None:
            scale, shift = self.linear(f"{name}.fc", style)[:, :, None, None].chunk(2, 1)
            scale = 1 + scale
        elif f"{name}.weight" in self.state:
            scale, shift = (self.state[f"{name}.{kind}"][:, None, None] for kind in ("weight", "bias"))
        else:
            return x
        mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), correction=0, keepdim=True)
        return scale * (x - mean) / (variance + 1e-5).sqrt() + shift

    def block(self, name: str, x: Tensor, resize: str, style: Tensor | None = None, residual: bool = True) -> Tensor:
        """Before activation; the shortcut convolved at the input's size."""
        h, way_round = leaky(self.norm(f"{name}.norm1", x, style)), x
        if f"{name}.conv1x1.weight" in self.state:
            way_round = self.conv(f"{name}.conv1x1", x)
        if resize == "up":
            h, way_round = (t.repeat_interleave(2, 2).repeat_interleave(2, 3) for t in (h, way_round))
        h = self.conv(f"{name}.conv1", h, 1)
        if resize == "down":
            h, way_round = (t.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean((3, 5)) for t in (h, way_round))
        h = self.conv(f"{name}.conv2", leaky(self.norm(f"{name}.norm2", h, style)), 1)
        return (h + way_round) / math.sqrt(2) if residual else h


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.2 * x)


def test_generator_is_what_the_file_says() -> None:
    network, image, style = small().generator.eval(), noise(2, 3, 16, 16), noise(2, 6, seed=1)
    file = File(network.state_dict())
    x = file.conv("from_rgb", image, 1)
    for number, resize in enumerate(("down", "", "")):
        x = file.block(f"encode.{number}", x, resize)
    for number, resize in enumerate(("", "", "up")):
        x = file.block(f"decode.{number}", x, resize, style)
    wanted = file.conv("to_rgb.2", leaky(file.norm("to_rgb.0", x)))
    assert (network(image, style) - wanted).abs().max() < 1e-5 * wanted.abs().max()
    assert network.train()(image, style).equal(network.eval()(image, style))


def test_generator_with_a_high_pass_skip_is_what_the_file_says() -> None:
    """One halving more, no way round the decoder's blocks, edges of the encoder times the masks at 32 px and 64 px."""
    network = small(image_size=64, high_pass=2.0, bottleneck=32, width=4, max_width=4).generator.eval()
    image, style = noise(2, 3, 64, 64), noise(2, 6, seed=1)
    coarse, fine = masks = (noise(2, 1, 32, 32, seed=2), noise(2, 1, 64, 64, seed=3))
    file = File(network.state_dict())
    first = file.conv("from_rgb", image, 1)
    second = file.block("encode.0", first, "down")
    x = file.block("encode.1", second, "down")
    for number in (2, 3):
        x = file.block(f"encode.{number}", x, "")
    plain = x
    for number, (resize, edges) in enumerate([("", None), ("", None), ("up", coarse * second), ("up", fine * first)]):
        x = file.block(f"decode.{number}", x, resize, style, residual=False)
        plain = file.block(f"decode.{number}", plain, resize, style, residual=False)
        if edges is not None:
            around = F.pad(edges, (1, 1, 1, 1)).unfold(2, 3, 1).unfold(3, 3, 1).sum((4, 5))
            x = x + (9 * edges - around) / 2
    for given, expected in ((masks, x), (None, plain)):
        wanted = file.conv("to_rgb.2", leaky(file.norm("to_rgb.0", expected)))
        assert (network(image, style, given) - wanted).abs().max() < 1e-5 * wanted.abs().max()


def test_mapping_network_encoder_and_discriminator_are_what_the_file_says() -> None:
    network, image, latent = small().eval(), noise(2, 3, 16, 16), noise(2, 4, seed=1)
    file, h = File(network.mapping_network.state_dict()), latent
    for layer in (0, 2, 4, 6):
        h = file.linear(f"shared.{layer}", h).clamp(min=0)
    for domain in range(3):
        style = h
        for layer in (0, 2, 4):
            style = file.linear(f"unshared.{domain}.{layer}", style).clamp(min=0)
        style = file.linear(f"unshared.{domain}.6", style)
        assert torch.allclose(network.mapping_network(latent)[:, domain], style, atol=1e-5)
    for part, shared in ((network.style_encoder, "shared"), (network.discriminator, "main")):
        file = File(part.state_dict())
        x = file.conv(f"{shared}.0", image, 1)
        for number in (1, 2):
            x = file.block(f"{shared}.{number}", x, "down")
        x = leaky(file.conv(f"{shared}.4", leaky(x)))
        if shared == "main":
            assert torch.allclose(part(image), file.conv("main.6", x).flatten(1), atol=1e-5)
        else:
            wanted = [file.linear(f"unshared.{domain}", x.flatten(1)) for domain in range(3)]
            assert torch.allclose(part(image), torch.stack(wanted, 1), atol=1e-5)


# ------------------------------------------------------------------------------------------------ sizes, AdaIN, start


def test_numbers_of_parameters_are_the_published_ones() -> None:
    with torch.device("meta"):
        faces = StarGANv2(image_size=256, channels=3, num_domains=2, high_pass=1.0)
        animals = StarGANv2(image_size=256, channels=3, num_domains=3)
    counts = [[sum(p.numel() for p in part.parameters()) for part in whole.children()] for whole in (faces, animals)]
    assert counts[0] == [43_467_395, 2_438_272, 20_916_928, 20_852_290]
    assert counts[1] == [33_892_995, 3_259_072, 20_949_760, 20_852_803]


def test_adain_gives_the_moments_that_the_style_tells() -> None:
    torch.manual_seed(0)
    layer, x, style = AdaIN(6, 4), 3 * noise(5, 4, 8, 8) + 2, noise(5, 6, seed=1)
    scale, shift = (style @ layer.fc.weight.T + layer.fc.bias).chunk(2, 1)
    variance, mean = torch.var_mean(layer(x, style).double(), (2, 3), correction=0)
    assert torch.allclose(mean, shift.double(), atol=1e-5)
    assert torch.allclose(variance.sqrt(), (1 + scale).abs().double(), atol=1e-4)


def test_bf16_autocast_keeps_adain_s_sums_in_float32() -> None:
    layer, x, style = AdaIN(6, 4), (noise(2, 4, 32, 32) + 30).bfloat16(), torch.zeros(2, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        answer = layer(x, style)
    assert answer.dtype == torch.bfloat16
    x = x.double()
    wanted = (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), correction=0, keepdim=True)
    bias = layer.fc.bias.detach().double().view(1, 8, 1, 1)
    assert (answer - (wanted * (1 + bias[:, :4]) + bias[:, 4:])).abs().max() < 0.03


@pytest.mark.parametrize(("size", "widths"), [(256, (64, 512)), (128, (128, 512)), (64, (64, 256)), (32, (32, 64))])
def test_the_width_follows_the_size(size, widths) -> None:
    with torch.device("meta"):
        network = Generator(image_size=size, channels=1)
    assert (network.from_rgb.out_channels, network.decode[0].conv1.in_channels) == widths
    assert len(network.encode) == len(network.decode) == math.log2(size) - 2


@pytest.mark.parametrize("size", [64, 48, 32, 28])
def test_sizes_that_are_no_power_of_two_too(size) -> None:
    with torch.device("meta"):
        network = StarGANv2(image_size=size, channels=1, num_domains=2, bottleneck=7)
        image, latent = torch.empty(3, 1, size, size), torch.empty(3, 16)
        assert network.mapping_network(latent).shape == network.style_encoder(image).shape == (3, 2, 64)
        assert network.discriminator(image).shape == (3, 2)
        assert network.generator(image, torch.empty(3, 64)).shape == image.shape


def test_the_start_is_he_s() -> None:
    torch.manual_seed(0)
    network = StarGANv2(image_size=32, channels=3, num_domains=2, width=64)
    for layer in (network.generator.encode[1].conv1, network.mapping_network.shared[2], network.discriminator.main[2].conv2):
        fan_in = layer.weight[0].numel()
        assert layer.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.03)
        assert not layer.bias.any()


@pytest.mark.parametrize("high_pass", [0.0, 1.0])
def test_gradient_reaches_every_parameter_that_is_trained(high_pass) -> None:
    network = small(high_pass=high_pass, bottleneck=4)
    styles = network.mapping_network(noise(2, 4))
    image = network.generator(noise(2, 3, 16, 16), styles[:, 1])
    (
        styles.square().sum() + network.style_encoder(image).square().sum() + network.discriminator(image).square().sum()
    ).backward()
    # A bias in front of a norm is taken away again: its gradient is 0 but for rounding.
    missed = [
        name
        for name, value in network.named_parameters()
        if value.grad is None or (value.dim() > 1 and not value.grad.abs().sum() > 0)
    ]
    unused = [name for name, value in network.named_parameters() if not value.requires_grad]
    assert missed == unused
    assert all(high_pass and "decode" in name and "conv1x1" in name for name in unused)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"image_size": 4}, "image_size: 4 is not allowed: at least the bottleneck, 8 pixels"),
        ({"image_size": 36}, "image_size: 36 is not allowed: 4, 5, 6 or 7 pixels doubled, once or more often"),
        ({"image_size": 20, "bottleneck": 4, "high_pass": 1.0}, "image_size: 20 is not allowed: with high_pass its 5 pixels"),
        ({"bottleneck": 2}, "bottleneck: 2 is not allowed: at least 4 pixels"),
        ({"width": 9}, "width: 9 is not allowed: from 1 to max_width, 8"),
        ({"width": 0}, "width: 0 is not allowed"),
        ({"high_pass": -1.0}, "high_pass: -1.0 is not allowed: 0 for none, or more"),
        ({"num_domains": 1}, "num_domains: 1 is not allowed: at least 2"),
        ({"latent_dim": 0}, "latent_dim: 0 is not allowed: at least 1"),
        ({"style_dim": 0}, "style_dim: 0 is not allowed: at least 1"),
        ({"mapping_width": 0}, "mapping_width: 0 is not allowed: at least 1"),
    ],
)
def test_bad_settings_say_what_is_allowed(settings, told) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=told):
        StarGANv2(**{**NARROW, **settings})


def test_masks_need_a_generator_with_a_high_pass_skip() -> None:
    masks = (torch.ones(1, 1, 8, 8), torch.ones(1, 1, 8, 8))
    with pytest.raises(ValueError, match="masks: given, but this generator was built without high_pass"):
        small().generator(noise(1, 3, 16, 16), noise(1, 6), masks)


# ------------------------------------------------------------------------------------------------ published files


def published(network: StarGANv2, prefix: str = "module.") -> dict[str, dict[str, Tensor]]:
    return {name: {prefix + key: value for key, value in part.state_dict().items()} for name, part in network.named_children()}


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("prefix", ["module.", ""])
def test_a_published_file_is_read_nested_or_flat(prefix, nested) -> None:
    file, network = small(seed=1), small()
    state = published(file, prefix)
    flat = {f"{name}.{key}": value for name, part in state.items() for key, value in part.items()}
    assert network.load_published(without_wrappers(state if nested else flat)).lines() == []
    assert all(torch.equal(value, file.state_dict()[key]) for key, value in network.state_dict().items())


def test_averages_come_without_discriminator_and_the_landmarks_are_left_out() -> None:
    network, state = small(), published(small(seed=1))
    own = network.discriminator.main[0].weight.clone()
    del state["discriminator"]
    notes = network.load_published(without_wrappers({**state, "fan": {"module.conv1.weight": torch.zeros(1)}})).lines()
    assert [note.partition(":")[0] for note in notes] == ["fan", "discriminator"]
    assert torch.equal(network.discriminator.main[0].weight, own)
    assert torch.equal(network.generator.from_rgb.weight, state["generator"]["module.from_rgb.weight"])


def test_heads_of_another_number_of_domains_start_fresh() -> None:
    file, network = small(seed=1, num_domains=2), small()
    own = {key: value.clone() for key, value in network.state_dict().items()}
    assert network.load_published(without_wrappers(published(file))).lines() == [
        "mapping_network.unshared: the file has 2 domains, this view 3: starts fresh",
        "style_encoder.unshared: the file has 2 domains, this view 3: starts fresh",
        "discriminator.main.6: the file has 2 domains, this view 3: starts fresh",
    ]
    for key, value in network.state_dict().items():
        fresh = ".unshared." in key or key.startswith("discriminator.main.6.")
        assert torch.equal(value, own[key] if fresh else file.state_dict()[key]), key


def test_heads_of_domains_of_other_names_start_fresh() -> None:
    file, network = small(seed=1), small()
    fitted = network.load_published(file.state_dict(), ClassNames(("a", "c", "b"), ("a", "b", "c")))
    assert [note.name for note in fitted.notes] == [
        "mapping_network.unshared",
        "style_encoder.unshared",
        "discriminator.main.6",
    ]
    assert {note.kind for note in fitted.notes} == {"fresh"}
    same = small(seed=2).load_published(file.state_dict(), ClassNames(("a", "b", "c"), ("a", "b", "c")))
    assert same.lines() == []
    assert same.taken == len(file.state_dict())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"generator": {"from_rgb.weight": torch.zeros(1)}},
            r"missing: generator\.decode.*of another shape: generator\.from_rgb",
        ),
        ({"style_encoder": {"more": torch.zeros(1)}}, r"1 left over: style_encoder\.more"),
        ({"encoder": {"more": torch.zeros(1)}}, r"1 left over: encoder\.more"),
    ],
)
def test_a_file_that_does_not_fit_changes_nothing(change, told) -> None:
    network, state = small(), published(small(seed=1))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    for name, part in change.items():
        state[name] = part if name == "generator" else {**state.get(name, {}), **part}
    with pytest.raises(ValueError, match=f"do not fit StarGANv2: .*{told}"):
        network.load_published(without_wrappers(state))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_file_of_something_else_is_named() -> None:
    with pytest.raises(ValueError, match="none of StarGAN v2's networks: generator, mapping_network, style_encoder, disc"):
        small().load_published({"conv1.weight": torch.zeros(1)})


# ------------------------------------------------------------------------------------------------ export
