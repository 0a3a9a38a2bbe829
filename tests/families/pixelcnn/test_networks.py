"""PixelCNNs: what a pixel sees, exact likelihoods, published weights, and cached samples against the definition."""

import itertools

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from components.families.pixelcnn.cache import cache_of
from components.families.pixelcnn.gated_pixelcnn import GatedPixelCNN
from components.families.pixelcnn.pixelcnn import PixelCNN
from components.families.pixelcnn.sampling import draw_level, sample, uniform_draws
from components.networks.published import ClassNames

VARIANTS = ["residual", "gated", "conditional"]
LABEL = torch.tensor([2, 0, 1])


@pytest.fixture(params=VARIANTS)
def variant(request):
    return request.param


def build(variant, channels=1, levels=2, depth=3, width=6):
    """A small network in float64 whose weights and batch norm statistics are far from the initial ones."""
    torch.manual_seed(0)
    options = {"channels": channels, "levels": levels, "depth": depth, "width": width}
    if variant == "residual":
        network = PixelCNN(**options)
    else:
        network = GatedPixelCNN(num_classes=3, class_condition=variant == "conditional", **options)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data.mul_(2)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(std=0.3)
    return network.double().eval()


def condition(variant, count=3):
    return (LABEL[torch.arange(count) % 3],) if variant == "conditional" else ()


def seen_by(network, variant, place, colour, shape):
    """bool [C, H, W]: the pixels on which the logits of ``colour`` at ``place`` depend, by gradient over 16 images."""
    image = torch.rand(16, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    logits = network(image, *condition(variant, 16))[:, :, colour, *place]
    weights = torch.linspace(1, 2, logits.shape[1], dtype=torch.float64)
    return torch.autograd.grad((logits * weights).sum(), image)[0].abs().sum(0) > 0


def before(place, colour, shape):
    """bool [C, H, W]: what comes before the colour at ``place``: row by row, R, G, B within a pixel."""
    channels, height, width = shape
    order = torch.arange(channels * height * width).view(height, width, channels).permute(2, 0, 1)
    return order < order[colour, *place]


def test_the_published_size():
    network = PixelCNN(channels=1)
    assert sum(p.numel() for p in network.parameters()) == 3_313_664
    assert len(network.state_dict()) == 328


@pytest.mark.parametrize("channels", [1, 3])
def test_no_pixel_sees_itself_or_its_future(variant, channels):
    network, shape = build(variant, channels, width=24), (channels, 6, 7)
    for place, colour in itertools.product([(0, 0), (2, 6), (4, 3)], range(channels)):
        seen = seen_by(network, variant, place, colour, shape)
        assert not (seen & ~before(place, colour, shape)).any()
        assert place == (0, 0) or seen[:colour, *place].all()
        assert (place[1] == 0) or seen[:, place[0], place[1] - 1].all()


def test_the_residual_network_has_a_blind_spot_and_the_gated_one_has_none():
    shape, place = (1, 8, 12), (7, 4)
    gated = seen_by(build("gated", depth=5), "gated", place, 0, shape)
    assert torch.equal(gated, before(place, 0, shape))
    residual = seen_by(build("residual", depth=5), "residual", place, 0, shape)
    assert residual[0, 6, :8].all()
    assert not residual[0, 6, 8:].any()


@pytest.mark.parametrize(("channels", "levels", "height", "width"), [(1, 2, 3, 2), (1, 4, 2, 2), (3, 2, 1, 2), (3, 2, 2, 1)])
def test_the_likelihoods_of_all_images_sum_to_1(variant, channels, levels, height, width):
    pixels = itertools.product(range(levels), repeat=channels * height * width)
    image = torch.tensor(list(pixels)).view(-1, channels, height, width)
    network = build(variant, channels, levels)
    for label in range(3 if variant == "conditional" else 1):
        given = (torch.full((len(image),), label),) if variant == "conditional" else ()
        with torch.no_grad():
            likelihood = -F.cross_entropy(network(image.double() / (levels - 1), *given), image, reduction="none").sum(
                (1, 2, 3)
            )
        assert likelihood.exp().sum().item() == pytest.approx(1, abs=1e-10)
        assert likelihood.std() > 0.1


@pytest.mark.parametrize(("channels", "levels"), [(1, 2), (1, 4), (1, 256), (3, 2), (3, 256)])
def test_cached_samples_are_those_of_the_definition(variant, channels, levels):
    network = build(variant, channels, levels)
    draws = uniform_draws((3, channels, 5, 6), seed=3)
    wanted = sample(network, draws, label=next(iter(condition(variant)), None), cached=False)
    assert torch.equal(sample(network, draws, label=next(iter(condition(variant)), None)), wanted)
    assert len(wanted.unique()) > 0.4 * min(levels, wanted.numel())


def test_cached_completions_are_those_of_the_definition(variant):
    network = build(variant, channels=3, levels=4)
    draws, given = uniform_draws((3, 3, 5, 6), seed=3), torch.randint(4, (3, 3, 5, 6), generator=torch.manual_seed(1))
    some = torch.rand(3, 1, 5, 6, generator=torch.manual_seed(2)) < 0.4
    upper = (torch.arange(5) < 3).view(1, 1, 5, 1)
    options = {"given": given, "temperature": 0.7, "label": next(iter(condition(variant)), None)}
    for known in (some, upper):
        found = sample(network, draws, known=known, **options)
        assert torch.equal(found, sample(network, draws, known=known, cached=False, **options))
        assert torch.equal(found.where(known, 0), given.where(known, 0))
        assert not torch.equal(found, given)


def test_an_image_does_not_depend_on_the_others_of_its_batch(variant):
    network, draws = build(variant, levels=4), uniform_draws((3, 1, 4, 4), seed=0)
    together = sample(network, draws, label=next(iter(condition(variant)), None))
    for i in range(3):
        label = LABEL[i : i + 1] if variant == "conditional" else None
        assert torch.equal(sample(network, draws[i : i + 1], label=label), together[i : i + 1])


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-4), (torch.float64, 1e-11)])
def test_cached_logits_are_those_of_the_definition_but_for_rounding(variant, dtype, bound):
    network = build(variant, levels=256).to(dtype)
    image = torch.rand(3, 1, 6, 6, generator=torch.manual_seed(0), dtype=dtype)
    with torch.no_grad():
        wanted, cache = network(image, *condition(variant)), cache_of(network, 3, 6, *condition(variant))
        for row in range(6):
            cache.begin_row()
            for column in range(6):
                pixel = image[:, :, row, column]
                torch.testing.assert_close(cache.logits(pixel, column), wanted[..., row, column], rtol=0, atol=bound)
                cache.write(pixel, column)


def test_draws_spread_over_the_levels_as_their_probabilities():
    probability = torch.tensor([0.5, 0.0, 0.3, 0.2], dtype=torch.float64)
    uniform = (torch.arange(1000) + 0.5) / 1000
    levels = draw_level(probability.log().expand(1000, 4), uniform.double(), temperature=1.0)
    assert levels.bincount(minlength=4).tolist() == [500, 0, 300, 200]
    assert draw_level(probability.log().expand(1000, 4), uniform.double(), temperature=0.01).unique().tolist() == [0]


def test_the_class_matters_and_must_be_given():
    network, image = build("conditional"), torch.zeros(3, 1, 4, 4, dtype=torch.float64)
    logits = network(image, LABEL)
    assert not torch.allclose(logits[0], logits[1])
    with pytest.raises(ValueError, match="label: missing"):
        network(image)
    with pytest.raises(ValueError, match="label: missing"):
        sample(network, uniform_draws((3, 1, 4, 4), 0))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"temperature": 0.0}, "temperature: 0.0 is not allowed: above 0"),
        ({"label": LABEL}, "label: the network takes none"),
        ({"known": torch.tensor(True)}, "given and known"),
        ({"known": torch.tensor(True), "given": torch.full((3, 1, 4, 4), 2)}, "given: levels from 0 to 1"),
        ({"draws": uniform_draws((3, 2, 4, 4), 0)}, r"draws: \[N, 1, H, W\] are expected, found \[3, 2, 4, 4\]"),
    ],
)
def test_what_cannot_be_sampled_is_refused(change, told):
    with pytest.raises(ValueError, match=told):
        sample(build("gated"), **({"draws": uniform_draws((3, 1, 4, 4), 0)} | change))


@pytest.mark.parametrize(
    ("network", "options", "told"),
    [
        (PixelCNN, {"levels": 257}, "levels"),
        (PixelCNN, {"width": 2}, "width"),
        (PixelCNN, {"depth": -1}, "depth"),
        (GatedPixelCNN, {"levels": 1}, "levels"),
        (GatedPixelCNN, {"width": 128}, "width: 128 is not allowed: a multiple of the 3"),
        (GatedPixelCNN, {"width": 6, "depth": 0}, "depth"),
        (GatedPixelCNN, {"width": 6, "kernel": 4}, "kernel"),
        (GatedPixelCNN, {"width": 6, "class_condition": True}, "class_condition"),
    ],
)
def test_settings_that_fit_no_network_are_refused(network, options, told):
    facts = {"channels": 3} | ({"num_classes": 0} if network is GatedPixelCNN else {})
    with pytest.raises(ValueError, match=told):
        network(**facts, **options)


# ------------------------------------------------------------------------------------------------------- published weights


def published(depth=2, width=4, levels=8):
    """A file in the published layout, made up."""
    generator = torch.Generator().manual_seed(0)
    convs = {"conv1.conv": (2 * width, 1, 7)}
    norms = {"bn1": 2 * width}
    for block in (f"residual_blocks.{i}" for i in range(depth)):
        convs |= {f"{block}.conv1": (width, 2 * width, 1), f"{block}.conv2.conv": (width, width, 3)}
        convs |= {f"{block}.conv3": (2 * width, width, 1)}
        norms |= {f"{block}.bn1": width, f"{block}.bn2": width, f"{block}.bn3": 2 * width}
    convs |= {"head.0.conv": (width, 2 * width, 1), "head.2.conv": (width, width, 1), "head.4": (levels, width, 1)}
    shapes = {f"{name}.weight": (out, of, k, k) for name, (out, of, k) in convs.items()}
    shapes |= {f"{name}.bias": (out,) for name, (out, _, _) in convs.items()}
    shapes |= {f"{name}.{key}": (n,) for name, n in norms.items() for key in ("weight", "bias", "running_mean", "running_var")}
    file = {key: torch.randn(shape, generator=generator, dtype=torch.float64) for key, shape in shapes.items()}
    file = {key: value.abs() + 0.5 if key.endswith("running_var") else value for key, value in file.items()}
    return file | {f"{name}.num_batches_tracked": torch.tensor(5) for name in norms}


def reference(file, image):
    """The published network written out: float64 [N, 1, H, W] -> [N, levels, H, W]."""

    def conv(name, x, sees_itself=True):
        weight = file[f"{name}.weight"].clone()
        middle = weight.shape[2] // 2
        weight[:, :, middle + 1 :] = 0
        weight[:, :, middle, middle + sees_itself :] = 0
        return F.conv2d(x, weight, file[f"{name}.bias"], padding=middle)

    def norm(name, x):
        keys = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(file[f"{name}.{key}"] for key in keys))

    x = norm("bn1", conv("conv1.conv", image, sees_itself=False))
    for block in ("residual_blocks.0", "residual_blocks.1"):
        y = x
        for layer, bn in (("conv1", "bn1"), ("conv2.conv", "bn2"), ("conv3", "bn3")):
            y = norm(f"{block}.{bn}", conv(f"{block}.{layer}", y.relu()))
        x = x + y
    for layer in ("head.0.conv", "head.2.conv", "head.4"):
        x = conv(layer, x.relu())
    return x


def test_published_weights_give_the_published_network():
    file, network = published(), PixelCNN(channels=1, levels=8, width=4, depth=2).double().eval()
    assert network.load_published(file).lines() == []
    image = torch.rand(2, 1, 9, 8, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(network(image)[:, :, 0], reference(file, image), rtol=0, atol=1e-10)


def test_a_file_that_does_not_fit_is_refused(variant):
    network = build(variant)
    state = network.state_dict() | {"extra": torch.zeros(1)}
    with pytest.raises(ValueError, match="1 left over: extra"):
        network.load_published(state)
    state.pop("extra")
    assert network.load_published(state).lines() == []


@pytest.mark.parametrize(("variant", "channels"), [("residual", 3), pytest.param("conditional", 1, marks=pytest.mark.slow)])
def test_onnx_graph_gives_the_same_logits_at_other_batch_sizes(variant, channels, tmp_path):
    network = build(variant, channels, levels=4, depth=1 if variant == "residual" else 2).float()
    batch, names = torch.export.Dim("batch"), ["image", "label"][: 2 if variant == "conditional" else 1]

    def inputs(count):
        return (torch.rand(count, channels, 6, 6, generator=torch.manual_seed(0)), *condition(variant, count))

    program = torch.onnx.export(
        network, inputs(2), dynamo=True, input_names=names, dynamic_shapes=tuple({0: batch} for _ in names), verbose=False
    )
    program.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 7):
        given = {name: tensor.numpy() for name, tensor in zip(names, inputs(count), strict=True)}
        assert np.abs(session.run(None, given)[0] - network(*inputs(count)).detach().numpy()).max() <= 1e-4


@pytest.mark.parametrize(("theirs", "fresh"), [(("a", "b"), False), (("b", "a"), True), (None, False)])
def test_a_class_s_biases_are_kept_only_for_classes_of_the_same_names(theirs, fresh):
    settings = {"channels": 1, "levels": 2, "width": 4, "depth": 2, "num_classes": 2}
    torch.manual_seed(0)
    giver, taker = (GatedPixelCNN(**settings, class_condition=True) for _ in range(2))
    own = taker.layers[1].condition.weight.clone()
    fitted = taker.load_published(giver.state_dict(), ClassNames(theirs, ("a", "b")))
    assert len(fitted.lines("fresh")) == (2 if fresh else 0)
    assert torch.equal(taker.layers[1].condition.weight, own if fresh else giver.layers[1].condition.weight)
    assert torch.equal(taker.layers[1].link.weight, giver.layers[1].link.weight)
    plain = GatedPixelCNN(**settings)
    assert plain.load_published(giver.state_dict()).lines() == ["condition: this network has no classes: left out"]
