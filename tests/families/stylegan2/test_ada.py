"""ADA's resampling through a wavelet, its bands, noise and hole: the paper's equations, and what may not depend on what."""

import math

import numpy as np
import pytest
import torch
from families.tiny import Tiny

from components.families.stylegan2.ada import corruption
from components.families.stylegan2.ada.pipeline import NORMAL, UNIFORM, adaptive_augment
from components.families.stylegan2.ada.resampling import SYM6, doubling, halving, resample
from components.families.stylegan2.settings import AdaptiveSettings


@pytest.mark.parametrize("taps", [SYM6, corruption.SYM2])
def test_the_symlets_are_orthonormal_with_as_many_vanishing_moments_as_they_say(taps):
    """Daubechies 1992, eq. 5.1.39 and section 6.1; these conditions leave few choices, of which a symlet is the straightest."""
    assert sum(taps) == pytest.approx(math.sqrt(2), abs=1e-12)
    for shift in range(0, len(taps), 2):
        product = sum(one * other for one, other in zip(taps[shift:], taps, strict=False))
        assert product == pytest.approx(float(shift == 0), abs=1e-10)
    for moment in range(len(taps) // 2):
        assert sum((-1) ** k * k**moment * tap for k, tap in enumerate(taps)) == pytest.approx(0, abs=1e-5)
    response = np.abs(np.fft.fft(taps, 256))
    assert response[0] == pytest.approx(math.sqrt(2))
    assert response[128] < 1e-5


def waves(side=32, period=8.0, phase=0.0, slope=0.0):
    """A plane wave [1, 1, side, side], which only a shift changes: its places are known between the pixels too."""
    row = torch.arange(side, dtype=torch.float64)
    return torch.cos(2 * math.pi * ((row[None, :] + slope * row[:, None]) / period + phase))[None, None]


def transform(rows):
    return torch.tensor([rows], dtype=torch.float64)


def test_halving_undoes_doubling_and_the_identity_changes_nothing():
    for size in (10, 14):
        np.testing.assert_allclose(halving(size) @ doubling(size, 3), np.eye(size), atol=1e-10)
    image, identity = torch.randn(2, 3, 10, 14, dtype=torch.float64), torch.eye(3, dtype=torch.float64).repeat(2, 1, 1)
    torch.testing.assert_close(resample(image, identity), image, rtol=0, atol=1e-6)


@pytest.mark.parametrize("pixels", [1.0, 3.0, 0.5, 0.3])
def test_a_shift_is_to_the_place_between_the_pixels(pixels):
    moved = resample(waves(), transform([[1, 0, -2 * pixels / 32], [0, 1, 0], [0, 0, 1]]))
    expected = waves(phase=-pixels / 8)
    assert float((moved - expected)[..., 6:-6].abs().max()) < 0.05
    if pixels == round(pixels):
        torch.testing.assert_close(moved[..., 6:-6], expected[..., 6:-6], rtol=0, atol=1e-5)


def test_turns_and_scales_leave_the_middle_where_it_is():
    half_turn = transform([[-1, 0, 0], [0, -1, 0], [0, 0, 1]])
    image = waves(period=16.0, phase=0.1, slope=0.5)
    assert float((resample(image, half_turn) - image.flip(-1, -2)).abs().max()) < 0.08, "a symlet is nearly symmetric"
    doubled = resample(image, transform([[0.5, 0, 0], [0, 0.5, 0], [0, 0, 1]]))
    row = (torch.arange(32, dtype=torch.float64) - 15.5) / 2 + 15.5
    expected = torch.cos(2 * math.pi * ((row[None, :] + 0.5 * row[:, None]) / 16 + 0.1))
    assert float((doubled[0, 0] - expected)[6:-6, 6:-6].abs().max()) < 0.05


def test_what_is_too_fine_for_the_smaller_picture_vanishes_and_bilinear_aliases():
    """At half the size a wave of 3 pixels has 1.5, which no grid can show; a bilinear sample shows another wave instead."""
    image, smaller = waves(64, period=3.0), transform([[2, 0, 0], [0, 2, 0], [0, 0, 1]])
    inner = resample(image, smaller)[..., 24:40, 24:40]
    grid = torch.nn.functional.affine_grid(smaller[:, :2], [1, 1, 64, 64], align_corners=False)
    aliased = torch.nn.functional.grid_sample(image, grid, mode="bilinear", align_corners=False)[..., 24:40, 24:40]
    assert float(inner.std()) < 0.15
    assert float(aliased.std()) > 0.3


def test_the_border_is_reflected_and_far_beyond_it_is_nothing():
    image = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    moved = resample(image, transform([[1, 0, -2 * 2 / 8], [0, 1, 0], [0, 0, 1]]))
    torch.testing.assert_close(moved, torch.cat([image[..., 1:3].flip(-1), image[..., :-2]], -1), rtol=0, atol=1e-6)
    away = resample(image, transform([[1, 0, 9], [0, 1, 0], [0, 0, 1]]))
    assert not away.any()


def test_an_image_does_not_depend_on_the_others_of_its_batch():
    torch.manual_seed(0)
    image, uniform, normal = torch.rand(6, 3, 16, 16), torch.rand(6, UNIFORM), torch.randn(6, NORMAL)
    together = adaptive_augment(image, torch.tensor(0.7), uniform, normal)
    alone = torch.cat(
        [adaptive_augment(image[n : n + 1], torch.tensor(0.7), uniform[n : n + 1], normal[n : n + 1]) for n in range(6)]
    )
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4)


def test_the_bands_add_up_to_the_identity_and_divide_the_spectrum():
    """Appendix B: 0 to pi/8, to pi/4, to pi/2, to pi."""
    bands = corruption.bands()
    identity = np.zeros(43)
    identity[21] = 1.0
    np.testing.assert_allclose(bands.sum(0), identity, atol=1e-9)
    frequencies = np.arange(512) / 512
    spectra = np.abs(np.fft.fft(bands, 1024, axis=1))[:, :512]
    for band, (low, high) in enumerate(((0, 1 / 8), (1 / 8, 1 / 4), (1 / 4, 1 / 2), (1 / 2, 1))):
        middle = (low + high) / 2 if band else 0.0
        strongest = spectra[:, np.abs(frequencies - middle).argmin()].argmax()
        assert strongest == band


def test_gains_keep_the_expected_power_and_act_on_their_band():
    torch.manual_seed(0)
    coins = torch.eye(4).mul(-0.8).add(0.9)  # one band each
    found = corruption.gains(torch.tensor(0.5), coins, torch.randn(4, 4))
    power = (found.square() * torch.tensor(corruption.POWER)).sum(1)
    torch.testing.assert_close(power, torch.ones(4))
    one = corruption.gains(torch.tensor(0.5), torch.tensor([[0.9, 0.9, 0.9, 0.1]]), torch.ones(1, 4))
    norm = math.sqrt((12 + 4) / 13)
    torch.testing.assert_close(one, torch.tensor([[1, 1, 1, 2]]) / norm)
    coarsest = corruption.gains(torch.tensor(0.5), torch.tensor([[0.1, 0.9, 0.9, 0.9]]), torch.ones(1, 4))
    torch.testing.assert_close(coarsest, torch.tensor([[2.0, 1, 1, 1]]) / math.sqrt((4 * 10 + 3) / 13))
    fine, coarse = waves(64, period=2.0), waves(64, period=64.0)
    filtered = corruption.filtered(torch.cat([fine, coarse], 1), torch.tensor([[1.0, 1.0, 1.0, 3.0]]))
    assert float(filtered[0, 0].abs().max()) == pytest.approx(3.0, abs=0.01)
    assert float((filtered[0, 1] - coarse[0, 0]).abs().max()) < 0.02
    small = torch.randn(2, 1, 4, 4)
    torch.testing.assert_close(corruption.filtered(small, torch.ones(2, 4)), small)


def test_noise_and_hole_come_with_their_probability():
    image = torch.ones(400, 1, 8, 8)
    uniform, normal = torch.rand(400, 8, generator=torch.Generator().manual_seed(0)), torch.full((400, 5), -2.0)
    noise = torch.full_like(image, 3.0)
    noisy = corruption.corrupt(image, torch.tensor(0.3), ("noise",), uniform=uniform, normal=normal, noise=noise)
    torch.testing.assert_close(noisy[uniform[:, 4] < 0.3], torch.full_like(noisy[uniform[:, 4] < 0.3], 1 + 3 * 0.2))
    assert (noisy[uniform[:, 4] >= 0.3] == 1).all()
    uniform[:, 5], uniform[:, 6], uniform[:, 7] = torch.where(torch.arange(400) < 40, 0.1, 0.9), 0.25, 0.75
    holed = corruption.corrupt(image, torch.tensor(0.3), ("cutout",), uniform=uniform, normal=normal)
    assert (holed[40:] == 1).all()
    expected = torch.ones(8, 8)
    expected[4:, :4] = 0  # x 0.25, y 0.75, half the side
    assert torch.equal(holed[0, 0], expected)
    nothing = corruption.corrupt(
        image, torch.tensor(0.0), ("filter", "noise", "cutout"), uniform=uniform, normal=normal, noise=noise
    )
    torch.testing.assert_close(nothing, image, rtol=0, atol=1e-6)


def test_kinds_choose_and_the_defaults_are_the_paper_s(tmp_path):
    assert AdaptiveSettings().kinds == ("blit", "geometry", "color")  # section 2.3
    assert AdaptiveSettings().resampling == "wavelet"  # appendix B
    image = torch.rand(2, 3, 8, 8)
    everything = (torch.tensor(1.0), torch.zeros(2, UNIFORM), torch.ones(2, NORMAL))
    pictures = [
        adaptive_augment(image, *everything, kinds=kinds) for kinds in (("blit",), ("geometry",), ("color",), ("filter",))
    ]
    assert torch.equal(pictures[3], image)
    assert len({round(float(picture.sum()), 4) for picture in (*pictures, image)}) == 4
    ada = {"kinds": ["color", "filter", "noise", "cutout"], "images": 32, "every": 1}
    recipe, _ = Tiny("stylegan2", tmp_path).train(steps=2, augment="ada", ada=ada)
    recipe.probability.fill_(1.0)
    first, again = (recipe.augmented(image[:, :1], 3, "real") for _ in range(2))
    assert torch.equal(first, again)
    assert (first == 0).float().mean() > 0.05
    assert not torch.equal(first, recipe.augmented(image[:, :1], 3, "fake"))
