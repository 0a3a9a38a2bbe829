"""StarGAN against plain convolutions that read the authors' layout; its published sizes; labels; small images; export."""

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from components.core.recipe import Graph
from components.families.stargan.networks import Discriminator, Generator, StarGAN, label_dim
from components.stages.export.onnx_graph import write_graph

SMALL = {"image_size": 16, "channels": 3, "num_labels": (2,)}
FILE_WIDTH, FILE_BLOCKS = 4, 2


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def labels(count: int, width: int = 2) -> Tensor:
    return F.one_hot(torch.arange(count) % width, width).float()


def generator_file(old: bool = False) -> dict[str, Tensor]:
    """A file in the authors' layout, width 4, 2 blocks, 2 labels: names and shapes written out, values random."""
    shapes = {"main.0.weight": (4, 5, 7, 7), "main.3.weight": (8, 4, 4, 4), "main.6.weight": (16, 8, 4, 4)}
    norms = {"main.1": 4, "main.4": 8, "main.7": 16}
    for block in (9, 10):
        shapes |= {f"main.{block}.main.{layer}.weight": (16, 16, 3, 3) for layer in (0, 3)}
        norms |= {f"main.{block}.main.{layer}": 16 for layer in (1, 4)}
    shapes |= {"main.11.weight": (16, 8, 4, 4), "main.14.weight": (8, 4, 4, 4), "main.17.weight": (3, 4, 7, 7)}
    norms |= {"main.12": 8, "main.15": 4}
    shapes |= {f"{name}.{kind}": (width,) for name, width in norms.items() for kind in ("weight", "bias", "running_mean")}
    file = {key: 0.3 * noise(*shape, seed=seed) for seed, (key, shape) in enumerate(shapes.items())}
    file |= {f"{name}.running_var": torch.linspace(0.5, 2, width) for name, width in norms.items()}
    return file if old else {**file, **{f"{name}.num_batches_tracked": torch.tensor(3) for name in norms}}


def by_plain_convolutions(file: dict[str, Tensor], image: Tensor, label: Tensor, running: bool) -> Tensor:
    def norm(name: str, x: Tensor) -> Tensor:
        weight, bias, mean, variance = (
            file[f"{name}.{kind}"][:, None, None] for kind in ("weight", "bias", "running_mean", "running_var")
        )
        if not running:
            mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), correction=0, keepdim=True)
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    x = torch.cat([image, label[:, :, None, None] * torch.ones_like(image[:, :1])], 1)
    for layer, stride, padding in ((0, 1, 3), (3, 2, 1), (6, 2, 1)):
        x = norm(f"main.{layer + 1}", F.conv2d(x, file[f"main.{layer}.weight"], None, stride, padding)).clamp(min=0)
    for block in ("main.9.main", "main.10.main"):
        branch = norm(f"{block}.1", F.conv2d(x, file[f"{block}.0.weight"], padding=1)).clamp(min=0)
        x = x + norm(f"{block}.4", F.conv2d(branch, file[f"{block}.3.weight"], padding=1))
    for layer in (11, 14):
        x = F.conv_transpose2d(x, file[f"main.{layer}.weight"], stride=2, padding=1)
        x = norm(f"main.{layer + 1}", x).clamp(min=0)
    return F.conv2d(x, file["main.17.weight"], padding=3).tanh()


def small_generator(**settings) -> Generator:
    torch.manual_seed(0)
    return Generator(**{**SMALL, "width": FILE_WIDTH, "blocks": FILE_BLOCKS, **settings})


# ------------------------------------------------------------------------------------------------ sizes, published files


def test_numbers_of_parameters_are_the_published_ones() -> None:
    with torch.device("meta"):
        celeba = StarGAN(image_size=128, channels=3, num_labels=(5,))
        both = StarGAN(image_size=256, channels=3, num_labels=(5, 8))
    counts = [sum(p.numel() for p in part.parameters()) for whole in (celeba, both) for part in whole.children()]
    assert counts == [8_430_528, 44_762_048, 8_461_888, 45_147_072]


@pytest.mark.parametrize(("running", "training"), [(False, False), (False, True), (True, False), (True, True)])
def test_a_published_file_gives_what_plain_convolutions_give(running, training) -> None:
    """Running statistics count in eval mode alone, and only where they were asked for: else both modes are one network."""
    network = small_generator(running_statistics=running).train(training)
    notes = network.load_published(generator_file()).lines()
    assert [note.partition(":")[0] for note in notes] == ([] if running else ["running statistics"])
    image, label = noise(3, 3, 16, 16), labels(3)
    wanted = by_plain_convolutions(generator_file(), image, label, running and not training)
    assert (network(image, label) - wanted).abs().max() < 1e-5


def test_files_that_do_not_count_their_batches_load_with_running_statistics() -> None:
    network = small_generator(running_statistics=True)
    assert network.load_published(generator_file(old=True)).lines() == []
    assert torch.equal(network.main[1].running_mean, generator_file()["main.1.running_mean"])


def test_labels_of_another_number_start_fresh_and_the_rest_is_the_file_s() -> None:
    network, file = small_generator(num_labels=(3, 2)), generator_file()
    fresh = network.main[0].weight[:, 3:].clone()
    told = network.load_published(file).lines()[-1]
    assert told == "main.0.weight: the file has 2 labels (with masks), this view 7: theirs start fresh"
    assert torch.equal(network.main[0].weight[:, :3], file["main.0.weight"][:, :3])
    assert torch.equal(network.main[0].weight[:, 3:], fresh)
    discriminators = [Discriminator(**{**SMALL, "num_labels": count}, width=4) for count in ((2,), (3, 2))]
    notes = discriminators[1].load_published(discriminators[0].state_dict()).lines()
    assert notes == ["conv2.weight: the file has 2 labels, this view 5: starts fresh"]
    assert torch.equal(discriminators[1].conv1.weight, discriminators[0].conv1.weight)


def test_one_file_of_the_two_is_told_by_its_names() -> None:
    both = StarGAN(**SMALL, width=4, blocks=2, discriminator_width=4)
    assert both.load_published(generator_file()).lines()[-1] == "discriminator: not in the file: starts fresh"
    other = Discriminator(**SMALL, width=4).state_dict()
    assert both.load_published(other).lines() == ["generator: not in the file: starts fresh"]
    assert torch.equal(both.generator.main[3].weight, generator_file()["main.3.weight"])
    assert torch.equal(both.discriminator.conv2.weight, other["conv2.weight"])


@pytest.mark.parametrize("change", ["missing", "left over", "of another shape"])
def test_a_file_that_does_not_fit_changes_nothing(change) -> None:
    network, file = small_generator(), generator_file()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    if change == "missing":
        del file["main.9.main.0.weight"]
    else:
        file |= {"main.20.weight": torch.zeros(1)} if change == "left over" else {"main.3.weight": torch.zeros(8, 4, 3, 3)}
    with pytest.raises(ValueError, match=f"do not fit Generator: 1 {change}: main"):
        network.load_published(file)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


# ------------------------------------------------------------------------------------------------ labels, discriminator


def test_the_label_changes_the_image_of_its_row_alone() -> None:
    """Also away from the border, where a constant map is told from another by nothing but the zero padding."""
    network, image, label = small_generator(), noise(3, 3, 16, 16), labels(3)
    other = label.clone()
    other[1] = label[1].flip(0)
    with torch.no_grad():
        difference = (network(image, other) - network(image, label)).abs()
    assert difference[1, :, 6:10, 6:10].max() > 1e-3
    assert difference[[0, 2]].max() == 0


def test_a_mask_is_part_of_the_label_from_two_data_sets_on() -> None:
    assert [label_dim(count) for count in ((5,), (5, 8), (2, 3, 4))] == [5, 15, 12]


def test_discriminator_is_its_convolutions() -> None:
    torch.manual_seed(0)
    network, image = Discriminator(**SMALL, width=4), noise(2, 3, 16, 16)
    file, x = network.state_dict(), image
    for layer in (0, 2, 4):
        x = F.conv2d(x, file[f"main.{layer}.weight"], file[f"main.{layer}.bias"], 2, 1)
        x = torch.where(x > 0, x, 0.01 * x)
    patches, logits = network(image)
    assert torch.allclose(patches, F.conv2d(x, file["conv1.weight"], padding=1), atol=1e-6)
    assert torch.allclose(logits, torch.einsum("nchw,kchw->nk", x, file["conv2.weight"]), atol=1e-6)


def test_scores_have_forward_s_slopes_to_the_second_order() -> None:
    torch.manual_seed(0)
    network, found = Discriminator(**SMALL, width=4), []
    for score in (lambda x: network(x)[0], network.scores):
        image = noise(2, 3, 16, 16).requires_grad_()
        network.zero_grad(set_to_none=True)
        (slope,) = torch.autograd.grad(score(image).sum(), image, create_graph=True)
        slope.flatten(1).norm(dim=1).sum().backward()
        found.append(
            [score(image), slope, *(p.grad for name, p in network.named_parameters() if "main" in name and p.dim() > 1)]
        )
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-7)
    assert found[0][2].abs().max() > 0


def test_scores_are_exact_in_float64() -> None:
    torch.manual_seed(0)
    network, image = Discriminator(**SMALL, width=4).double(), noise(2, 3, 16, 16).double()
    torch.testing.assert_close(network.scores(image), network(image)[0], rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(("size", "left", "depth"), [(256, 4, 6), (128, 2, 6), (64, 2, 5), (48, 3, 4), (32, 2, 4), (28, 3, 3)])
def test_the_depth_follows_the_size(size, left, depth) -> None:
    with torch.device("meta"):
        network = Discriminator(image_size=size, channels=1, num_labels=(4, 3), width=2)
        patches, logits = network(torch.empty(2, 1, size, size))
        assert Generator(image_size=size, channels=1, num_labels=(4, 3), width=2)(
            torch.empty(2, 1, size, size), torch.empty(2, 9)
        ).shape == (2, 1, size, size)
    assert patches.shape == (2, 1, left, left)
    assert logits.shape == (2, 7)
    assert len(network.main) == 2 * depth


@pytest.mark.parametrize("running", [True, False])
def test_gradient_reaches_every_parameter(running) -> None:
    torch.manual_seed(0)
    network = StarGAN(**SMALL, width=4, blocks=1, discriminator_width=4, running_statistics=running)
    patches, logits = network.discriminator(network.generator(noise(3, 3, 16, 16), labels(3)))
    (patches.square().sum() + logits.square().sum()).backward()
    assert [name for name, value in network.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0] == []


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"image_size": 12}, "image_size: 12 is not allowed: a multiple of 4 pixels, at least 16"),
        ({"image_size": 30}, "image_size: 30 is not allowed"),
        ({"num_labels": ()}, r"num_labels: \[\] is not allowed: one number a data set, each at least 1"),
        ({"num_labels": (3, 0)}, r"num_labels: \[3, 0\] is not allowed"),
        ({"width": 0}, "^width: 0 is not allowed: at least 1"),
        ({"blocks": 0}, "blocks: 0 is not allowed: at least 1"),
        ({"discriminator_width": 0}, "discriminator_width: 0 is not allowed: at least 1"),
        ({"depth": 0}, "depth: 0 is not allowed: from 1 to 4 for images of 16 pixels"),
        ({"depth": 5}, "depth: 5 is not allowed: from 1 to 4"),
    ],
)
def test_bad_settings_say_what_is_allowed(settings, told) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=told):
        StarGAN(**{**SMALL, **settings})


# ------------------------------------------------------------------------------------------------ export


@pytest.mark.parametrize("running", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_onnx_with_a_dynamic_batch(tmp_path, running) -> None:
    network = small_generator(running_statistics=running, blocks=1)
    for norm in (module for module in network.modules() if isinstance(module, nn.InstanceNorm2d) and running):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)

    def inputs(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"image": batch["image"], "label": labels(batch["image"].shape[0])}

    write_graph(Graph(network, inputs, ("translated",)), {"image": noise(3, 3, 16, 16)}, tmp_path / "stargan.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "stargan.onnx"), providers=["CPUExecutionProvider"])
    for count in (1, 7):
        given = inputs({"image": noise(count, 3, 16, 16, seed=count)})
        with torch.no_grad():
            expected = network(*given.values()).numpy()
        (found,) = session.run(["translated"], {name: value.numpy() for name, value in given.items()})
        assert np.abs(found - expected).max() <= 1e-5
