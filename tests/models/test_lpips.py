"""LPIPS: the published files' layout, and the distance by its equation."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from components.networks.lpips import LPIPS, within_styles

SHAPES = {"0": (64, 3, 11, 11), "3": (192, 64, 5, 5), "6": (384, 192, 3, 3), "8": (256, 384, 3, 3), "10": (256, 256, 3, 3)}


def files(seed=0):
    """torchvision's AlexNet and LPIPS' linear weights, as published but for the numbers."""
    draw = torch.Generator().manual_seed(seed)
    alexnet = {}
    for name, shape in SHAPES.items():
        alexnet[f"features.{name}.weight"] = torch.randn(shape, generator=draw) / torch.tensor(shape[1:]).prod().sqrt()
        alexnet[f"features.{name}.bias"] = 0.1 * torch.randn(shape[0], generator=draw)
    alexnet["classifier.1.weight"] = torch.zeros(1)
    widths = [shape[0] for shape in SHAPES.values()]
    linear = {f"lin{layer}.model.1.weight": torch.rand(1, width, 1, 1, generator=draw) for layer, width in enumerate(widths)}
    return alexnet, linear


@pytest.fixture(scope="module")
def network():
    network = LPIPS()
    network.load_published(*files())
    return network.eval()


def by_the_equation(a, b):
    """Equation 1, place by place, on Krizhevsky's five layers."""
    alexnet, linear = files()
    mean, deviation = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    total, xs = 0.0, [(x - mean[:, None, None]) / deviation[:, None, None] for x in (a, b)]
    for layer, (name, stride, padding, pool) in enumerate(
        [("0", 4, 2, False), ("3", 1, 2, True), ("6", 1, 1, True), ("8", 1, 1, False), ("10", 1, 1, False)]
    ):
        xs = [F.max_pool2d(x, 3, 2) for x in xs] if pool else xs
        weight, bias = alexnet[f"features.{name}.weight"], alexnet[f"features.{name}.bias"]
        xs = [F.conv2d(x, weight, bias, stride, padding).clamp(min=0) for x in xs]
        one, other = (F.normalize(x, dim=1) for x in xs)
        total = total + (linear[f"lin{layer}.model.1.weight"] * (one - other) ** 2).sum(1).mean((1, 2))
    return total


def test_it_is_the_paper_s_equation(network):
    a, b = torch.rand(2, 2, 3, 40, 40, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        found = network(a, b)
        assert network(a, a).tolist() == [0, 0]
    torch.testing.assert_close(found, by_the_equation(a, b), rtol=1e-4, atol=1e-6)
    assert found.min() > 1e-3


def test_the_figure_of_an_input_is_the_mean_over_pairs_of_its_translations(network):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32, 1), dtype=np.uint8)
    found = within_styles(network, pixels, smallest=31)
    image = (torch.from_numpy(pixels[1]).permute(0, 3, 1, 2).float() / 127.5 - 1).expand(-1, 3, -1, -1)
    with torch.no_grad():
        pairs = [network(image[[i]], image[[j]]).item() for i, j in ((0, 1), (0, 2), (1, 2))]
    assert found.shape == (2,)
    assert found[1] == pytest.approx(np.mean(pairs), rel=1e-5)
    assert within_styles(network, pixels[:, :1].repeat(2, 1), smallest=31).tolist() == [0, 0]


def test_small_images_are_enlarged_where_asked_and_else_refused(network):
    small = np.random.default_rng(0).integers(0, 256, (1, 2, 16, 16, 3), dtype=np.uint8)
    assert np.isfinite(within_styles(network, small, smallest=40)).all()
    with pytest.raises(ValueError, match=r"\[30, 30\] pixels are too few for AlexNet: at least 31 a side"):
        network.directions(torch.zeros(1, 3, 30, 30))
    with pytest.raises(ValueError, match=r"uint8 \[N, 2 or more, H, W, 1 or 3\] are expected"):
        within_styles(network, small[:, :1], smallest=40)


def test_other_files_are_refused_by_name(network):
    alexnet, linear = files()
    alexnet["features.3.weight"] = torch.zeros(1)
    del linear["lin2.model.1.weight"]
    with pytest.raises(ValueError, match=r"1 missing: lin2.model.1.weight; 1 of another shape: features.3.weight"):
        network.load_published(alexnet, linear)
    assert sum(p.numel() for p in network.features.parameters()) == 2_469_696
