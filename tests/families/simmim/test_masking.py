"""Masks, their loss, and what a masked encoder can see."""

import math

import numpy as np
import pytest
import torch

from components.families.simmim.masking import Cells, enlarged, masked_l1, masked_l1_of_each
from components.families.simmim.networks import SimMIM
from components.networks.swin.swin import Swin, SwinV2
from components.networks.vit import ViT

SWIN = {"patch": 2, "width": 8, "depths": (2, 1), "heads": (2, 2), "window": 2, "drop_path": 0.0}
ENCODERS = {
    "vit": lambda size, channels: ViT(image_size=size, channels=channels, num_classes=1, patch=4, width=8, depth=1, heads=2),
    "swin": lambda size, channels: Swin(image_size=size, channels=channels, num_classes=1, **SWIN),
    "swin_v2": lambda size, channels: SwinV2(image_size=size, channels=channels, num_classes=1, **SWIN),
}


def model(name, size=(16, 8), channels=1, cell=4):
    torch.manual_seed(0)
    built = SimMIM(ENCODERS[name](size, channels), cell, (0.1,) * channels, (0.5,) * channels).eval()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return built


@pytest.mark.parametrize(("size", "side", "ratio", "masked"), [(192, 32, 0.6, 22), (224, 32, 0.6, 30), (32, 8, 0.6, 10)])
def test_as_many_cells_are_masked_as_published(size, side, ratio, masked):
    """ceil(0.6 * 36) = 22 at 192 px."""
    cells = Cells.of((size, size), side, ratio)
    mask = cells.masks(torch.rand(50, cells.number))
    assert (mask.sum((1, 2)) == masked).all()
    assert set(mask.unique().tolist()) == {0.0, 1.0}


def test_every_set_of_cells_is_as_likely_as_any_other():
    """A permutation per image: 3 of 4 cells are masked, so one of four cells is seen, each a quarter of the time."""
    cells = Cells.of((8, 8), 4, 0.75)
    mask = cells.masks(torch.rand(4000, 4, generator=torch.Generator().manual_seed(0))).flatten(1)
    shares = (1 - mask).mean(0)
    assert (shares - 0.25).abs().max() < 4 * math.sqrt(0.25 * 0.75 / 4000)


@pytest.mark.parametrize(
    ("size", "side", "ratio", "message"),
    [
        ((16, 12), 8, 0.6, r"train\.mask_cell: 8 does not divide the image size 16 x 12; allowed: 1, 2, 4$"),
        ((16, 16), 16, 0.6, r"train\.mask_ratio: 0\.6 masks 1 of 1 cells .*smaller cells"),
        ((16, 16), 8, 0.8, r"train\.mask_ratio: 0\.8 masks 4 of 4 cells .*up to 0\.75"),
    ],
)
def test_cells_that_do_not_fit_are_refused(size, side, ratio, message):
    with pytest.raises(ValueError, match=message):
        Cells.of(size, side, ratio)


def test_a_cell_covers_the_square_at_its_own_place():
    mask = torch.rand(2, 3, 5)
    large = enlarged(mask, 4)
    assert large.shape == (2, 12, 20)
    assert all(large[n, y, x] == mask[n, y // 4, x // 4] for n in range(2) for y in range(12) for x in range(20))


def test_the_loss_is_the_mean_over_masked_pixels_alone():
    generator = np.random.default_rng(0)
    image, rebuilt = generator.normal(size=(2, 3, 3, 4, 4))
    mask = generator.integers(0, 2, size=(3, 4, 4))
    total, number = 0.0, 0
    for n, y, x in zip(*np.nonzero(mask), strict=True):
        total, number = total + np.abs(image[n, :, y, x] - rebuilt[n, :, y, x]).sum(), number + 1
    found = masked_l1(*(torch.from_numpy(array).double() for array in (image, rebuilt, mask)))
    assert float(found) == pytest.approx(total / (number + 1e-5) / 3, rel=1e-12)


def test_the_figure_of_an_image_is_its_own_loss():
    image, rebuilt = torch.randn(2, 3, 2, 4, 4).unbind()
    mask = (torch.rand(3, 4, 4) < 0.5).float()
    each = [masked_l1(image[i : i + 1], rebuilt[i : i + 1], mask[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(masked_l1_of_each(image, rebuilt, mask), torch.stack(each))


@pytest.mark.parametrize("name", ENCODERS)
def test_no_rebuilt_pixel_depends_on_a_masked_one(name):
    """The gradient by the image is 0 exactly below the mask, and at most visible pixels it is not."""
    built, cells = model(name), Cells.of((16, 8), 4, 0.5)
    image = torch.randn(2, 1, 16, 8, requires_grad=True)
    mask = cells.masks(torch.rand(2, cells.number, generator=torch.Generator().manual_seed(3)))
    (built.rebuild(image, mask) ** 2).sum().backward()
    seen = 1 - enlarged(mask, 4)[:, None]
    assert torch.equal((image.grad != 0).float(), seen)


@pytest.mark.parametrize("name", ENCODERS)
def test_what_is_masked_is_replaced_by_one_learnt_token(name):
    """With all cells masked two images give the same result; it changes with the token."""
    built, mask = model(name), torch.ones(2, 4, 2)
    with torch.no_grad():
        rebuilt = built.rebuild(torch.randn(2, 1, 16, 8), mask)
        assert torch.equal(rebuilt[0], rebuilt[1])
        torch.nn.init.normal_(built.mask_token)
        assert not torch.allclose(built.rebuild(torch.randn(2, 1, 16, 8), mask), rebuilt)


def test_masked_patches_of_vit_keep_their_positions():
    rebuilt = model("vit").rebuild(torch.randn(1, 1, 16, 8), torch.ones(1, 4, 2))
    assert not torch.allclose(rebuilt[:, :, :4, :4], rebuilt[:, :, 4:8, :4])


@pytest.mark.parametrize("name", ENCODERS)
def test_the_last_map_is_normalised(name):
    built = model(name)
    torch.nn.init.ones_(built.encoder.norm.weight)
    torch.nn.init.zeros_(built.encoder.norm.bias)
    maps = built.encoder.feature_map(torch.randn(2, 1, 16, 8), lambda patches: patches)
    torch.testing.assert_close(maps.mean(1), torch.zeros_like(maps[:, 0]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_the_head_puts_pixels_where_they_belong(name):
    """With no weights its bias is the image: channel c, row y, column x of each place is output c s^2 + y s + x."""
    built = model(name, channels=3)
    torch.nn.init.zeros_(built.decoder[0].weight)
    stride = built.encoder.stride
    rebuilt = built.rebuild(torch.randn(1, 3, 16, 8), torch.zeros(1, 4, 2))
    bias = built.decoder[0].bias
    for c, y, x in ((0, 0, 0), (1, 5, 3), (2, 15, 6)):
        assert rebuilt[0, c, y, x] == bias[c * stride**2 + (y % stride) * stride + x % stride]


@pytest.mark.parametrize("name", ENCODERS)
def test_features_are_the_mean_of_the_last_map_of_the_whole_image(name):
    built, image = model(name), torch.randn(2, 1, 16, 8)
    maps = built.encoder.feature_map(image, lambda patches: patches)
    torch.testing.assert_close(built.features(image), maps.mean((2, 3)))
    if name != "vit":
        torch.testing.assert_close(built.features(image), built.encoder.features(image))
