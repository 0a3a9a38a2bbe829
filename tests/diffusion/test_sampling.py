"""Requests: conditions as tensors, one stream of noise an image, guidance put together, and what is refused."""

import pytest
import torch
from torch import Tensor, nn

from components.diffusion.conditions import lower_resolution, null_of, tokens_of
from components.diffusion.model import ConditionalModel
from components.diffusion.samplers import image_generators, normal_like
from components.diffusion.sampling import Guide, SamplerOptions, conditional_denoiser, draw_images
from components.diffusion.schedules import make_schedule


class Pull(nn.Module):
    """Predicts a v that means x_0 = alpha x_t + sigma brightness: standard normal data, darker or brighter by the label."""

    def __init__(self) -> None:
        super().__init__()
        self.brightness = nn.Parameter(torch.tensor([-0.8, 0.8, 0.0]))  # the last one is label -1's

    def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        return -self.brightness[label].view(-1, 1, 1, 1).expand_as(x)


MODEL = ConditionalModel(Pull(), None, schedule="cosine", num_steps=None, target="v")
LABEL = {"label": torch.tensor([0, 1, 1])}


def draw(options: SamplerOptions, condition=LABEL, first: int = 0, guide: Guide | None = None) -> Tensor:
    count = len(condition["label"])
    return draw_images(MODEL, (count, 1, 2, 2), condition, options, image_generators(3, first, count), guide=guide)


def test_an_image_is_the_same_in_every_batch() -> None:
    for options in (SamplerOptions("ancestral", 8), SamplerOptions("ddim", 8, eta=0.5), SamplerOptions("heun", 4)):
        whole = draw(options)
        for i in range(3):
            alone = draw(options, {"label": LABEL["label"][i : i + 1]}, first=i)
            assert torch.allclose(alone, whole[i : i + 1], atol=1e-6)
        assert not torch.allclose(whole[1], whole[2])
    assert not torch.allclose(draw(SamplerOptions("ddim", 8, eta=0.5)), draw(SamplerOptions("ddim", 8)))


def test_streams_of_noise_differ_by_seed_and_image() -> None:
    x = torch.zeros(5, 4)
    drawn = torch.cat([normal_like(x, image_generators(seed, first, 5)) for seed, first in ((0, 0), (0, 5), (1, 0))])
    assert len(torch.unique(drawn)) == drawn.numel()
    assert torch.equal(drawn[:5], normal_like(x, image_generators(0, 0, 5)))
    seeds = [generator.initial_seed() for generator in image_generators(2, 5, 2)]
    assert seeds == [0xD4735E3A + 5, 0xD4735E3A + 6], "what was drawn once is drawn again: SHA-256 of the text 2"
    assert normal_like(x.double(), image_generators(0, 0, 5)).dtype == torch.float64


def test_scale_0_is_blind_1_is_plain_and_more_goes_further() -> None:
    means = {
        scale: draw(SamplerOptions(steps=8, guidance_scale=scale, clip=False)).flatten(1).mean(1) for scale in (0.0, 1.0, 2.0)
    }
    nothing = draw(SamplerOptions(steps=8, clip=False), null_of(LABEL)).flatten(1).mean(1)
    assert torch.equal(means[0.0], nothing)
    assert torch.equal(means[1.0], draw(SamplerOptions(steps=8, clip=False)).flatten(1).mean(1)), "the default"
    assert means[2.0][0] < means[1.0][0] < means[0.0][0]
    assert means[2.0][1] > means[1.0][1] > means[0.0][1]


@pytest.mark.parametrize("sampler", ["ancestral", "ddim", "dpm_solver_2m"])
def test_a_classifier_pulls_to_its_label_within_the_interval(sampler) -> None:
    def brightness(x: Tensor, time: Tensor) -> Tensor:
        """Sure of itself as far as x_t tells of x_0, as a trained one is."""
        alpha = MODEL.schedule.log_snr(time[:1] / 1000).sigmoid().sqrt().float()
        mean = x.flatten(1).mean(1, keepdim=True)
        return torch.cat([-4 * alpha * mean, 4 * alpha * mean], 1)

    guide, nothing = Guide(brightness, torch.tensor([0, 1, 1])), null_of(LABEL)
    plain = draw(SamplerOptions(sampler, 10, clip=False), nothing)
    pulled = (
        (draw(SamplerOptions(sampler, 10, guidance_scale=1.0, clip=False), nothing, guide=guide) - plain).flatten(1).mean(1)
    )
    assert pulled[0] < -0.02
    assert pulled[1:].min() > 0.02
    with torch.no_grad():
        t, x = torch.tensor(0.5, dtype=torch.float64), torch.ones(3, 1, 2, 2)
        at_ends = guide.gradient(MODEL.schedule, SamplerOptions(interval=(0.5, 1.0)))
    assert at_ends(x, t).abs().min() > 0
    assert at_ends(x, 2 * t).abs().max() > 0
    assert at_ends(x, t / 2).abs().max() == 0
    never = draw(SamplerOptions(sampler, 10, guidance_scale=1.0, interval=(1e-8, 2e-8), clip=False), nothing, guide=guide)
    assert torch.equal(never, plain)


def test_where_a_classifier_guides_the_condition_is_not_guided_too() -> None:
    options, x, t = SamplerOptions(guidance_scale=3.0), torch.ones(3, 1, 2, 2), torch.tensor(0.5)
    plain, guided, free = (
        MODEL.denoiser()(x, t, LABEL), *(conditional_denoiser(MODEL, LABEL, options, by)(x, t) for by in (True, False))
    )  # fmt: skip
    assert torch.equal(guided, plain)
    assert not torch.allclose(free, plain)


def test_estimates_are_clipped_where_asked() -> None:
    assert draw(SamplerOptions(steps=8, guidance_scale=8.0)).abs().max() <= 1
    assert draw(SamplerOptions(steps=8, guidance_scale=8.0, clip=False)).abs().max() > 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (SamplerOptions("euler"), "sampler: 'euler' is not allowed: ancestral, ddim, heun, dpm_solver_2m"),
        (SamplerOptions(guidance_scale=-0.1), r"guidance_scale: -0.1 is not allowed: at least 0"),
        (SamplerOptions("ddim", eta=1.5), "eta: 1.5 is not allowed: from 0"),
        (SamplerOptions("heun", eta=0.5), "eta: 0.5 is of the sampler ddim, not of heun"),
        (SamplerOptions(interval=(0.5, 0.5)), r"interval: \(0.5, 0.5\) is not allowed"),
        (SamplerOptions(interval=(0.5, 1.5)), r"interval: \(0.5, 1.5\) is not allowed"),
        (SamplerOptions(interval=(-0.5, 0.5)), r"interval: \(-0.5, 0.5\) is not allowed"),
        (SamplerOptions(steps=0), "steps: 0 is not allowed"),
        (SamplerOptions(steps=51), "steps: 51 is not allowed: 1 to the schedule's 50"),
    ],
)
def test_a_options_that_cannot_be_is_refused(options, told) -> None:
    with pytest.raises(ValueError, match=told):
        options.check(make_schedule("cosine", 50))


def test_the_ends_of_every_range_are_allowed() -> None:
    for options in (SamplerOptions("ddim", eta=1.0), SamplerOptions(guidance_scale=0.0), SamplerOptions("heun", steps=50)):
        options.check(make_schedule("cosine", 50))


@pytest.mark.parametrize(("name", "sampler"), [("cosine", "heun"), ("vdm_fixed", "heun"), ("cosine", "ddim")])
def test_evaluations_are_those_that_happen(name, sampler) -> None:
    calls, model = [], ConditionalModel(Pull(), None, schedule=name, num_steps=None, target="v")
    model.network.register_forward_hook(lambda *_: calls.append(1))
    options = SamplerOptions(sampler, 5)
    draw_images(model, (1, 1, 2, 2), {"label": torch.zeros(1, dtype=torch.int64)}, options, image_generators(0, 0, 1))
    assert len(calls) == options.evaluations(model.schedule)


def test_texts_are_bytes_and_zeros() -> None:
    assert tokens_of(["ab", "", "é", "abc"], 3).tolist() == [[97, 98, 0], [0, 0, 0], [0xC3, 0xA9, 0], [97, 98, 99]]
    with pytest.raises(ValueError, match="text: 'éé' is 4 bytes long, longer than the context of 3"):
        tokens_of(["éé"], 3)
    with pytest.raises(ValueError, match="NUL"):
        tokens_of(["a\0"], 3)


def test_a_lower_resolution_is_the_mean_of_squares_as_8_bits_hold_it() -> None:
    pixels = torch.tensor([[0, 10, 255, 255], [20, 31, 255, 255]]).view(1, 1, 2, 4)
    small = lower_resolution(pixels / 127.5 - 1, 2)
    assert ((small + 1) * 127.5).flatten().tolist() == pytest.approx([15, 255], abs=1e-4)


def test_vdm_s_prediction_of_eps_is_added_to_x() -> None:
    x, time, label = torch.ones(1, 1, 2, 2), torch.zeros(1), {"label": torch.tensor([2])}
    for schedule, target, added in (
        ("vdm_fixed", "eps", 1.0),
        ("vdm_learned", "eps", 1.0),
        ("vdm_fixed", "v", 0.0),
        ("cosine", "eps", 0.0),
    ):
        model = ConditionalModel(Pull(), None, schedule=schedule, num_steps=None, target=target)
        assert model(x, time, label).mean().item() == pytest.approx(added)
