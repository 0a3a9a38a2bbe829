"""Mixup, CutMix and random erasing: laws of the draws, and what becomes of images and targets."""

import random

import numpy as np
import pytest
import torch
from workbench import run_settings

from components.core.batch import ViewFacts
from components.core.config.strict import SettingsError, parse
from components.families.classification import mixing
from components.families.classification.losses import smoothed
from components.families.classification.mixing import draw_mixture, erase, erased_box
from components.families.classification.recipe import Classification
from components.families.classification.settings import ErasingSettings, MixingSettings, TrainSettings

MODES = ("batch", "pair", "elem")
FACTS = ViewFacts("v", 8, 3, {"label": ("a", "b", "c")}, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), {"train": 9}, "")
SMOOTHING = 0.1


def build(**train):
    recipe = Classification.build(
        run_settings("vit", {"patch": 4, "width": 8, "depth": 1, "heads": 2}, **train), {"main": FACTS}, {}
    )
    return recipe.train()


def told(number=6, size=(9, 7)):
    """Images of which pixel and target say the same: channel k is 1 where image k is, (images, one-hot targets)."""
    target = torch.eye(number)
    return target[:, :, None, None].expand(-1, -1, *size).clone(), target


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("alphas", [(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)])
def test_the_target_is_the_share_of_each_image_in_the_pixels(mode, alphas):
    image, target = told()
    for step in range(20):
        mixture = draw_mixture(
            MixingSettings(mixup_alpha=alphas[0], cutmix_alpha=alphas[1], mode=mode), image, seed=0, step=step
        )
        mixed = mixture.image(image)
        torch.testing.assert_close(mixed.mean((2, 3)), mixture.target(target), rtol=0, atol=1e-6)
        partners = mixed.mean((2, 3)) + torch.eye(len(image)) + torch.eye(len(image)).flip(0)
        assert (partners > 0).sum() <= 2 * len(image), "the partner is the reverse of the batch"
        if alphas[0] == 0:
            assert set(mixed.unique().tolist()) <= {0.0, 1.0}, "CutMix pastes pixels as they are"


@pytest.mark.parametrize(("mode", "number"), [("batch", 1), ("pair", 3), ("elem", 6)])
def test_the_mode_says_how_many_lambdas_a_batch_has(mode, number):
    mixture = draw_mixture(MixingSettings(cutmix_alpha=0.0, mode=mode), told()[0], seed=0, step=3)
    assert len(np.unique(mixture.share)) == number
    if mode == "pair":
        np.testing.assert_array_equal(mixture.share, mixture.share[::-1])


def test_draws_follow_the_laws_of_the_settings():
    def drawn(**settings):
        image = torch.zeros(4000, 1, 32, 32)
        mixture = draw_mixture(MixingSettings(mode="elem", **settings), image, seed=0, step=0)
        return mixture.share, mixture.boxes[:, 1] > mixture.boxes[:, 0]

    share, cut = drawn(cutmix_alpha=0.0)
    assert not cut.any()
    assert (share.mean(), share.var()) == pytest.approx((0.5, 1 / (4 * (2 * 0.8 + 1))), abs=0.015)  # Beta(a, a)
    _, cut = drawn(switch_prob=0.25)
    assert cut.mean() == pytest.approx(0.25, abs=0.02)
    share, cut = drawn(prob=0.3)
    assert (share < 1).mean() == pytest.approx(0.3, abs=0.02)
    share, cut = drawn(mixup_alpha=0.0)
    assert cut.mean() > 0.95
    assert 0.5 < share.mean() < 0.72  # 0.5 before the boxes are clipped at the borders


def test_draws_are_functions_of_seed_and_step():
    image = told()[0]

    def of(seed, step):
        return draw_mixture(MixingSettings(), image, seed=seed, step=step).share[0]

    assert of(0, 5) == of(0, 5)
    assert len({of(0, 5), of(0, 6), of(1, 5)}) == 3


def of_the_other(part, rows, image, target):
    """What the other process has where ``part``, a view of this one's rows, lies."""
    if part.dim() == 2:
        return target.flip(0)[rows]
    top, left = divmod(part.storage_offset() - image[rows].storage_offset(), image.shape[3])
    return image.flip(0)[rows, :, top : top + part.shape[2], left : left + part.shape[3]]


@pytest.mark.parametrize("mode", MODES)
def test_two_processes_mix_and_erase_as_one(mode, monkeypatch):
    image = torch.rand(8, 3, 9, 7)
    target, settings, erasing = torch.rand(8, 5), MixingSettings(mode=mode), ErasingSettings(probability=1.0)
    mean, std = torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)

    def both(part, labels, step):
        mixture = draw_mixture(settings, part, seed=0, step=step)
        return mixture.image(part), mixture.target(labels), erase(part, erasing, mean, std, seed=0, step=step)

    for step in range(4):
        alone, shares = both(image, target, step), []
        for rank in range(2):
            rows = slice(4 * rank, 4 * rank + 4)
            with monkeypatch.context() as patch:
                patch.setattr(mixing, "processes", lambda rank=rank: (rank, 2))
                patch.setattr(mixing, "opposite", lambda part, rows=rows: of_the_other(part, rows, image, target))
                shares.append(both(image[rows], target[rows], step))
        for whole, halves in zip(alone, zip(*shares, strict=True), strict=True):
            torch.testing.assert_close(torch.cat(halves), whole, rtol=0, atol=0)


def test_smoothed_targets_stay_smoothed_if_a_batch_is_not_mixed():
    batch = {"image": torch.rand(4, 3, 8, 8), "label": torch.tensor([0, 1, 2, 0])}
    for prob in (0.0, 1.0):
        recipe = build(mixing={"prob": prob, "cutmix_alpha": 0.0}, label_smoothing=SMOOTHING)
        seen = recipe.augmented(batch, step=0)
        share = draw_mixture(recipe.settings.mixing, batch["image"], seed=mixing.mix(0, "train"), step=0).share[0]
        one_hot = smoothed(batch["label"], 3, SMOOTHING)
        assert one_hot[0].tolist() == pytest.approx([1 - SMOOTHING + SMOOTHING / 3, SMOOTHING / 3, SMOOTHING / 3])
        assert (share == 1) == (prob == 0)
        torch.testing.assert_close(seen["target"], float(share) * one_hot + (1 - float(share)) * one_hot.flip(0))
        logits = torch.randn(4, 3)
        expected = -(seen["target"] * logits.log_softmax(1)).sum(1).mean()
        torch.testing.assert_close(recipe.objective(logits, seen), expected)


def test_each_step_and_each_stream_is_augmented_by_itself():
    recipe = build(mixing={"prob": 1.0}, random_erasing={"probability": 1.0})
    batch = {"image": torch.rand(4, 3, 8, 8), "label": torch.tensor([0, 1, 2, 0])}
    before = batch["image"].clone()
    seen = [
        recipe.augmented(batch, step, role)["image"]
        for step, role in ((0, "train"), (0, "train"), (1, "train"), (0, "unlabelled"))
    ]
    assert torch.equal(seen[0], seen[1])
    assert not any(torch.equal(seen[0], other) for other in seen[2:])
    assert torch.equal(batch["image"], before), "the batch is not changed in place"


def test_a_batch_is_erased_and_then_mixed():
    recipe = build(mixing={"cutmix_alpha": 0.0}, random_erasing={"probability": 1.0, "mode": "const"})
    batch, classifier = {"image": torch.rand(4, 3, 8, 8), "label": torch.arange(4) % 3}, recipe.classifier
    seed, erasing = mixing.mix(0, "train"), recipe.settings.random_erasing
    image = erase(batch["image"], erasing, classifier.mean, classifier.std, seed=seed, step=0)
    expected = draw_mixture(recipe.settings.mixing, image, seed=seed, step=0).image(image)
    assert torch.equal(recipe.augmented(batch, 0)["image"], expected)


def erased(settings, count=64, size=32, **place):
    """(images as the network sees them, [count, size, size] where they were erased)."""
    mean, std = torch.tensor([0.5, -0.2]).view(1, 2, 1, 1), torch.tensor([0.25, 4.0]).view(1, 2, 1, 1)
    image = torch.full((count, 2, size, size), 77.0)
    seen = erase(image, settings, mean, std, **{"seed": 0, "step": 0} | place)
    where = (seen != 77.0).any(1)
    assert (seen[~where[:, None].expand_as(seen)] == 77.0).all()
    return (seen - mean) / std, where


def test_erased_pixels_are_standard_normal_as_the_network_sees_them():
    seen, where = erased(ErasingSettings(probability=1.0))
    values = seen.permute(0, 2, 3, 1)[where]
    assert len(values) > 5000
    torch.testing.assert_close(values.mean(0), torch.zeros(2), atol=0.05, rtol=0)
    torch.testing.assert_close(values.std(0), torch.ones(2), atol=0.05, rtol=0)
    assert len(values[:, 0].unique()) > 0.99 * len(values), "each pixel by itself"
    seen, where = erased(ErasingSettings(probability=1.0, mode="const"))
    assert seen.permute(0, 2, 3, 1)[where].abs().max() < 1e-6


def test_an_image_is_erased_with_the_given_probability_and_each_by_itself():
    _, where = erased(ErasingSettings(probability=0.25), count=2000, size=8)
    assert where.flatten(1).any(1).float().mean() == pytest.approx(0.25, abs=0.03)
    _, where = erased(ErasingSettings(probability=1.0))
    assert len({tuple(image.flatten().tolist()) for image in where}) > 50
    _, other = erased(ErasingSettings(probability=1.0), step=1)
    assert not torch.equal(where, other)


def test_rectangles_have_uniform_areas_and_log_uniform_aspects():
    settings = ErasingSettings(probability=1.0)
    boxes = [erased_box(settings, random.Random(seed), 300, 300) for seed in range(3000)]
    top, bottom, left, right = np.array([box for box in boxes if box]).T
    height, width = bottom - top, right - left
    assert len(top) == 3000
    area, aspect = height * width / 300**2, np.log(height / width)
    assert (area.min(), area.max()) == pytest.approx((0.02, 1 / 3), abs=0.01)
    assert np.quantile(area, 0.5) == pytest.approx((0.02 + 1 / 3) / 2, abs=0.02)
    assert (aspect.min(), aspect.max()) == pytest.approx((np.log(0.3), -np.log(0.3)), abs=0.05)
    assert np.quantile(aspect, [0.25, 0.75]) == pytest.approx([np.log(0.3) / 2, -np.log(0.3) / 2], abs=0.08)
    assert (top.min(), left.min(), bottom.max(), right.max()) == (0, 0, 300, 300)


def test_a_rectangle_that_never_fits_is_not_erased():
    assert erased_box(ErasingSettings(probability=1.0, area=(1.0, 1.0), attempts=3), random.Random(0), 8, 8) is None


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"batch_size": 1, "mixing": {}}, r"train\.batch_size: 1 is not allowed with mixing"),
        ({"batch_size": 7, "mixing": {}}, r"train\.batch_size: 7 is not allowed with mixing: .*even"),
        (
            {"mixing": {"mixup_alpha": 0.0, "cutmix_alpha": 0.0}},
            r"train\.mixing\.mixup_alpha: 0 is not allowed with cutmix_alpha: 0",
        ),
        ({"mixing": {"prob": 1.5}}, r"train\.mixing\.prob: 1\.5 is not allowed"),
        ({"mixing": {"mode": "half"}}, r"train\.mixing\.mode: 'half' is not allowed"),
        ({"mixing": {"mixup": 0.8}}, r"train\.mixing\.mixup: unknown key .*mixup_alpha"),
        ({"mixing": {}, "focal_gamma": 2.0}, r"train\.focal_gamma: 2 is not allowed with mixing"),
        ({"label_smoothing": 0.1, "focal_gamma": 2.0}, r"train\.focal_gamma: 2 is not allowed with label_smoothing"),
        ({"random_erasing": {"area": [0.5, 0.2]}}, r"train\.random_erasing\.area: \[0\.5, 0\.2\] is not allowed"),
        ({"random_erasing": {"aspect": [0.0, 2.0]}}, r"train\.random_erasing\.aspect: \[0\.0, 2\.0\] is not allowed"),
        ({"random_erasing": {"attempts": 0}}, r"train\.random_erasing\.attempts: 0 is not allowed"),
        ({"repeats": 0}, r"train\.repeats: 0 is not allowed"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_their_key(block, message):
    with pytest.raises(SettingsError, match=message):
        parse(TrainSettings, block, "train")
