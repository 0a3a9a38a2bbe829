"""StyleGAN2's training: the papers' constants, penalties against analytic cases, and what the discriminator is shown."""

import math

import numpy as np
import pytest
import torch
from families.tiny import Tiny

from components.core.config.strict import SettingsError
from components.families.stylegan2.ada.pipeline import NORMAL, UNIFORM, adaptive_augment, adjusted, apply_colours, colours
from components.families.stylegan2.augment import colour, cut, diff_augment, translate
from components.families.stylegan2.losses import lazy, path_length_penalty, path_lengths
from components.families.stylegan2.settings import AdaptiveSettings, TrainSettings

PAPER = {  # Karras et al. 2020, arXiv 1912.04958, and the authors' code where it is named
    "batch_size": 32,  # appendix B
    "learning_rate": 2e-3,  # appendix B
    "betas": (0.0, 0.99),  # appendix B
    "schedule": "constant",  # appendix B
    "ema_decay": pytest.approx(0.99778, abs=1e-5),  # half-life of 10,000 images (StyleGAN, arXiv 1710.10196, section 6)
    "r1": "auto",  # ADA, arXiv 2006.06676, appendix C: 0.0002 N / M
    "r1_every": 16,  # section 3.1
    "path_length": 2.0,  # code: pl_weight
    "path_length_every": 4,  # code: G_reg_interval
    "path_length_decay": 0.01,  # appendix B
    "path_batch_shrink": 2,  # code: pl_batch_shrink
    "style_mixing": 0.9,  # appendix B
    "augment": "none",
}
ADA = {"target": 0.6, "every": 4, "images": 500_000}  # arXiv 2006.06676, section 3.2


def test_defaults_are_those_of_the_papers():
    assert {name: getattr(TrainSettings(), name) for name in PAPER} == PAPER
    assert {name: getattr(AdaptiveSettings(), name) for name in ADA} == ADA


def test_adam_is_corrected_for_the_updates_of_lazy_penalties():
    """Appendix B: c = k / (k + 1), lambda' = c lambda, beta' = beta^c."""
    rate, betas = lazy(2e-3, (0.5, 0.99), 16)
    assert rate == pytest.approx(2e-3 * 16 / 17)
    assert betas == (pytest.approx(0.5 ** (16 / 17)), pytest.approx(0.99 ** (16 / 17)))


def test_the_recipe_s_optimizers_have_the_corrected_rates(tmp_path):
    recipe = Tiny("stylegan2", tmp_path).build(path_length_every=4, r1_every=16, learning_rate=0.1)
    rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in recipe.optimizers.items()}
    assert rates == {"generator": pytest.approx(0.1 * 4 / 5), "discriminator": pytest.approx(0.1 * 16 / 17)}


def test_gamma_of_r1_is_by_size_and_batch_unless_given(tmp_path):
    tiny = Tiny("stylegan2", tmp_path)
    assert tiny.build(r1="auto").gamma == pytest.approx(2e-4 * 8 * 8 / 8)
    assert tiny.build(r1=10.0).gamma == 10.0


def test_path_lengths_of_a_linear_generator_are_the_norms_of_its_matrix():
    """image = A w for every layer: J^T y = A^T y, with y scaled by 1 / sqrt(pixels); mean square over the layers."""
    torch.manual_seed(0)
    matrix, styles = torch.randn(3, 4, 12), torch.randn(2, 3, 4, requires_grad=True)  # layers, style, pixels
    image = torch.einsum("nls,lsp->np", styles, matrix).view(2, 1, 3, 4)
    y = torch.randn(2, 1, 3, 4)
    expected = [
        math.sqrt(sum(float((matrix[layer] @ y[n].flatten() / math.sqrt(12)).square().sum()) for layer in range(3)) / 3)
        for n in range(2)
    ]
    np.testing.assert_allclose(path_lengths(image, styles, y).detach().numpy(), expected, rtol=1e-5)


def test_the_penalty_is_around_the_moving_mean():
    penalty, mean = path_length_penalty(torch.tensor([1.0, 3.0]), torch.tensor(10.0), 0.01)
    assert float(mean) == pytest.approx(10 + 0.01 * (2 - 10))
    assert float(penalty) == pytest.approx(((1 - float(mean)) ** 2 + (3 - float(mean)) ** 2) / 2)


def test_penalties_are_lazy_and_as_many_times_as_large(tmp_path, monkeypatch):
    """The losses that each update is made on, by step."""
    from components.families.stylegan2 import recipe as module

    seen, optimize = [], module.optimize

    def watched(losses, *optimizers, **options):
        if isinstance(losses, dict) and not {"path_length", "r1"}.isdisjoint(losses):
            seen.append({name: float(loss.detach()) for name, loss in losses.items()})
        return optimize(losses, *optimizers, **options)

    monkeypatch.setattr(module, "optimize", watched)
    curves = Tiny("stylegan2", tmp_path).train(steps=4, path_length_every=3, r1_every=2, r1=5.0, path_length=7.0, log_every=1)[
        1
    ]
    assert [sorted(losses) for losses in seen] == [["path_length"], ["r1"], ["r1"], ["path_length"]]
    names, first = (line.split(",") for line in curves.decode().splitlines()[:2])
    logged = dict(zip(names, first, strict=True))
    assert seen[1]["r1"] == pytest.approx(5.0 * 2 * float(logged["r1"]), rel=1e-5)
    assert seen[0]["path_length"] == pytest.approx(7.0 * 3 * float(logged["path_penalty"]), rel=1e-5)


def test_ada_s_probability_follows_the_sign_of_the_scores():
    half = torch.tensor(0.5)
    options = {"target": 0.6, "images": 256, "speed": 1024, "most": 1.0}
    assert float(adjusted(half, torch.tensor(0.7), **options)) == 0.75
    assert float(adjusted(half, torch.tensor(0.5), **options)) == 0.25
    assert float(adjusted(torch.tensor(0.9), torch.tensor(1.0), **options)) == 1.0
    assert float(adjusted(torch.tensor(0.1), torch.tensor(0.0), **options)) == 0.0


def test_ada_counts_an_interval_and_starts_anew(tmp_path):
    recipe = Tiny("stylegan2", tmp_path).build(augment="ada", ada={"every": 2, "images": 64})
    recipe.adapt(torch.tensor([1.0, 2.0, 3.0, -1.0]), 0)
    assert (recipe.signs.tolist(), float(recipe.probability)) == ([2.0, 4.0], 0.0)
    logged = recipe.adapt(torch.ones(8), 1)
    assert float(logged["ada_sign"]) == pytest.approx(10 / 12)
    assert (recipe.signs.tolist(), float(recipe.probability)) == ([0.0, 0.0], 2 * 8 / 64)


def numbers(rows, probability_of_all=0.0):
    """Uniform numbers that choose every transformation (0) or none (1), and no spread."""
    return torch.full((rows, UNIFORM), probability_of_all), torch.zeros(rows, NORMAL)


def test_ada_without_probability_changes_no_pixel():
    torch.manual_seed(0)
    image = torch.rand(3, 3, 8, 8)
    uniform, normal = torch.rand(3, UNIFORM), torch.randn(3, NORMAL)
    torch.testing.assert_close(adaptive_augment(image, torch.tensor(0.0), uniform, normal), image, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({0: 0.1, 1: 0.0}, lambda x: x.flip(-1)),  # mirrored: coin 1
        ({2: 0.3, 3: 0.0}, lambda x: x.rot90(1, (-2, -1))),  # one quarter turn: coin 3
        (
            {4: 0.99, 5: 0.5, 6: 0.0},
            lambda x: torch.cat([x[..., :1], x[..., :-1]], -1),
        ),  # one pixel to the right, mirrored border
    ],
)
def test_ada_moves_whole_pixels_exactly(settings, expected):
    torch.manual_seed(0)
    image = torch.rand(1, 1, 8, 8)
    uniform, normal = numbers(1, 0.9)
    for column, value in settings.items():
        uniform[0, column] = value
    found = adaptive_augment(image, torch.tensor(0.5), uniform, normal, resampling="bilinear")
    candidates = [expected(image), image.rot90(-1, (-2, -1)) if 3 in settings else expected(image)]
    assert min(float((found - candidate).abs().max()) for candidate in candidates) < 1e-4


def test_ada_s_colours_are_the_paper_s():
    """A luma flip mirrors the brightness about 0 and keeps the hue; saturation 0 is grey; brightness comes before contrast."""
    image = torch.rand(1, 3, 2, 2) - 0.5
    uniform, normal = torch.full((1, 8), 0.9), torch.zeros(1, 4)
    uniform[0, 2], uniform[0, 3] = 0.1, 0.0
    flipped = apply_colours(image, colours(torch.tensor(0.5), uniform, normal))
    torch.testing.assert_close(flipped, image - 2 * image.mean(1, keepdim=True), atol=1e-6, rtol=0)
    uniform = torch.full((1, 8), 0.9)
    uniform[0, 6], normal[0, 2] = 0.0, -40.0
    grey = apply_colours(image, colours(torch.tensor(0.5), uniform, normal))
    torch.testing.assert_close(grey, image.mean(1, keepdim=True).expand_as(image), atol=1e-6, rtol=0)
    uniform, normal = torch.full((1, 8), 0.9), torch.zeros(1, 4)
    uniform[0, :2], normal[0, 0], normal[0, 1] = 0.0, 1.0, 2.0
    linear = apply_colours(image, colours(torch.tensor(0.5), uniform, normal))
    torch.testing.assert_close(linear, 2 ** (2 * 0.5) * (image + 0.2), atol=1e-6, rtol=0)


def test_diffaugment_is_the_paper_s():
    """Brightness +-0.5, saturation 0 to 2, contrast 0.5 to 1.5; shifts of up to an eighth, with zeros; a hole."""
    image = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(colour(image, torch.full((2, 3), 0.5)), image)
    torch.testing.assert_close(colour(image, torch.tensor([[0.9, 0.5, 0.5]] * 2)), image + 0.4)
    grey = colour(image, torch.tensor([[0.5, 0.0, 0.5]] * 2))
    torch.testing.assert_close(grey, image.mean(1, keepdim=True).expand_as(image))
    flat = colour(image, torch.tensor([[0.5, 0.5, 0.0]] * 2))
    torch.testing.assert_close(flat - flat.mean((1, 2, 3), keepdim=True), 0.5 * (image - image.mean((1, 2, 3), keepdim=True)))
    moved = translate(image, torch.tensor([[0.99, 0.0], [0.0, 0.5]]))
    torch.testing.assert_close(moved[0, :, 1:, :-1], image[0, :, :-1, 1:])
    assert moved[0, :, 0].abs().sum() == moved[0, :, :, -1].abs().sum() == 0
    torch.testing.assert_close(moved[1, :, :-1], image[1, :, 1:])
    holes = cut(torch.ones(1, 1, 8, 8), torch.tensor([[0.5, 0.5]]))
    assert int((holes == 0).sum()) == 16
    assert torch.equal(diff_augment(image, (), torch.rand(2, 7)), image)


def test_real_and_generated_images_are_augmented_for_both_networks(tmp_path, monkeypatch):
    from components.families.stylegan2 import recipe as module

    shown = []
    monkeypatch.setattr(module, "diff_augment", lambda image, policy, numbers: shown.append(numbers) or image)
    Tiny("stylegan2", tmp_path).train(steps=1, augment="diffaugment", r1=0.0)
    assert len(shown) == 3  # the generator's images, real ones, the discriminator's images
    assert len({tuple(numbers.flatten().tolist()) for numbers in shown}) == 3


@pytest.mark.parametrize(
    ("train", "model", "message"),
    [
        ({"batch_size": 10}, {"deviation_group": 4}, "train.batch_size: 10 is not allowed: a multiple of 4"),
        ({"compile": True}, {}, "train.compile: true is not allowed: R1"),
        ({"batch_size": 8, "path_batch_shrink": 3}, {}, "path_batch_shrink: 3 does not divide"),
        ({"policy": ["color"]}, {}, "policy: not allowed with augment: none"),
        ({"ada": {"target": 0.5}}, {}, "ada: not allowed with augment: none"),
        ({"r1": -1.0}, {}, "r1: -1.0 is not allowed"),
        ({"processes": 2}, {"deviation_group": None}, "deviation_group: null is not allowed with several processes"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_any_work(tmp_path, train, model, message):
    from components.families.stylegan2.recipe import StyleGAN2Recipe

    tiny = Tiny("stylegan2", tmp_path)
    params = tiny.params(**train)
    params["runs"]["tiny"]["model"] = params["runs"]["tiny"]["model"] | model
    with pytest.raises((SettingsError, ValueError), match=message):
        StyleGAN2Recipe.check(tiny.parse(params), None, {})
