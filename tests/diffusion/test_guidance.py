"""Guidance 0 and 1 are the unconditional and the conditional model; the classifier's gradient is a gradient."""

import pytest
import torch
import torch.nn.functional as F
from diffusion import oracle
from torch import Tensor

from components.diffusion.conditions import drop_conditions, null_of
from components.diffusion.guidance import classifier_free, classifier_gradient, classifier_guided
from components.diffusion.model import conditioned
from components.diffusion.samplers import ancestral, ddim, posterior
from components.diffusion.schedules import make_schedule
from components.diffusion.times import time_grid

SCHEDULE = make_schedule("linear", 50)
X = torch.randn(3, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
T = torch.tensor(0.4, dtype=torch.float64)
CONDITION, NULL = {"label": torch.tensor([0, 2, 1])}, {"label": torch.tensor([-1, -1, -1])}
sizes: list[int] = []


def denoise(x: Tensor, t: Tensor, condition: dict[str, Tensor]) -> Tensor:
    sizes.append(len(x))
    return 0.5 * x + 0.1 * condition["label"].view(-1, 1, 1, 1) + t


@pytest.mark.parametrize(("scale", "meant"), [(0.0, NULL), (1.0, CONDITION)])
def test_scale_0_ignores_the_condition_and_1_follows_it_exactly(scale, meant) -> None:
    sizes.clear()
    assert torch.equal(classifier_free(denoise, CONDITION, NULL, scale)(X, T), conditioned(denoise, meant)(X, T))
    assert sizes == [3, 3], "one forward, as without guidance"


@pytest.mark.parametrize("scale", [0.3, 2.5])
def test_scale_extrapolates_in_one_forward_of_twice_the_batch(scale) -> None:
    expected = scale * denoise(X, T, CONDITION) + (1 - scale) * denoise(X, T, NULL)
    sizes.clear()
    assert torch.allclose(classifier_free(denoise, CONDITION, NULL, scale)(X, T), expected, atol=1e-14)
    assert sizes == [6]


def test_outside_the_interval_the_scale_is_1() -> None:
    guided = classifier_free(denoise, CONDITION, NULL, 3.0, interval=(0.2, 0.3))
    assert torch.equal(guided(X, T), denoise(X, T, CONDITION))
    for inside in (0.2, 0.25, 0.3):  # both ends belong to it: by default the first step, at t = 1, is guided
        t = torch.tensor(inside, dtype=torch.float64)
        assert not torch.allclose(guided(X, t), denoise(X, t, CONDITION))


def test_bad_guidance_is_refused() -> None:
    with pytest.raises(ValueError, match=r"guidance_scale: -0.1 is not allowed: at least 0"):
        classifier_free(denoise, CONDITION, NULL, -0.1)
    with pytest.raises(ValueError, match="guidance_scale: nan"):
        classifier_gradient(logits, CONDITION["label"], SCHEDULE, float("nan"))
    with pytest.raises(ValueError, match="guidance needs conditions"):
        classifier_free(denoise, {}, {}, 2.0)


def test_dropped_conditions_are_dropped_together() -> None:
    condition = {"label": torch.arange(4), "text": torch.ones(4, 3, 2)}
    dropped = torch.tensor([True, False, False, True])
    kept = drop_conditions(condition, null_of(condition), dropped)
    assert kept["label"].tolist() == [-1, 1, 2, -1]
    assert kept["text"].flatten(1).sum(1).tolist() == [0, 6, 6, 0]


# ------------------------------------------------------------------------------------------------ a classifier

WEIGHT = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def logits(x: Tensor, time: Tensor) -> Tensor:
    return torch.tanh(x.flatten(1) @ WEIGHT.T * (1 + time.unsqueeze(1) / 1000))


def log_probability(x: Tensor, label: Tensor) -> Tensor:
    time = SCHEDULE.time_input(T).expand(len(x))
    return -F.cross_entropy(logits(x, time), label, reduction="none")


def test_classifier_s_gradient_is_that_of_finite_differences() -> None:
    label, step = CONDITION["label"], 1e-6
    with torch.no_grad():  # as inside a sampler
        found = classifier_gradient(logits, label, SCHEDULE, 2.0)(X, T).flatten(1)
    for j, direction in enumerate(torch.eye(4, dtype=torch.float64).reshape(4, 1, 1, 2, 2)):
        difference = log_probability(X + step * direction, label) - log_probability(X - step * direction, label)
        assert torch.allclose(found[:, j], 2.0 * difference / (2 * step), atol=1e-8)


def test_guided_ancestral_step_moves_the_mean_by_the_variance_times_the_gradient() -> None:
    times, gradient = (
        torch.tensor([0.4, 0.3], dtype=torch.float64),
        classifier_gradient(logits, CONDITION["label"], SCHEDULE, 5.0),
    )
    plain, guided = (
        ancestral(oracle.denoiser(SCHEDULE), X, SCHEDULE, times, torch.Generator().manual_seed(3), gradient=shift)
        for shift in (None, gradient)
    )
    variance = posterior(*SCHEDULE.log_snr(times))[2]
    assert torch.allclose(guided - plain, variance * gradient(X, T), atol=1e-12)


def test_guided_denoiser_moves_eps_by_sigma_times_the_gradient() -> None:
    gradient = classifier_gradient(logits, CONDITION["label"], SCHEDULE, 5.0)
    guided, plain = classifier_guided(oracle.denoiser(SCHEDULE), gradient, SCHEDULE), oracle.denoiser(SCHEDULE)
    alpha, sigma = SCHEDULE.log_snr(T).sigmoid().sqrt(), (-SCHEDULE.log_snr(T)).sigmoid().sqrt()
    eps, guided_eps = ((X - alpha * estimate(X, T)) / sigma for estimate in (plain, guided))
    assert torch.allclose(guided_eps, eps - sigma * gradient(X, T), atol=1e-12)


@pytest.mark.parametrize("how", ["ancestral", "ode"])
def test_a_classifier_of_one_side_draws_that_side(how) -> None:
    """p(y | x_t) from the oracle's own data: y = 1 where x_0 is above the mean. Guided samples must be, plain ones half."""

    def side(x: Tensor, time: Tensor) -> Tensor:
        snr = SCHEDULE.log_snr((time[0] + 20) / 1000).exp()
        above = (oracle.exact_x0(x, snr.log()) - oracle.MEAN) / (oracle.STD**2 / (1 + oracle.STD**2 * snr)).sqrt()
        p = torch.special.ndtr(above).clamp(1e-12, 1 - 1e-12)
        return torch.cat([(1 - p).log(), p.log()], 1)

    x, times = torch.randn(500, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(4)), time_grid(SCHEDULE, 50)
    gradient = classifier_gradient(side, torch.ones(500, dtype=torch.int64), SCHEDULE, 1.0)
    denoiser = oracle.denoiser(SCHEDULE)
    if how == "ancestral":
        drawn = ancestral(denoiser, x, SCHEDULE, times, torch.Generator().manual_seed(5), variance="forward", gradient=gradient)
    else:
        drawn = ddim(classifier_guided(denoiser, gradient, SCHEDULE), x, SCHEDULE, times, torch.Generator())
    assert float((drawn > oracle.MEAN).double().mean()) > 0.9
    # a half normal: mean s sqrt(2 / pi) above
    assert float(drawn.mean()) == pytest.approx(oracle.MEAN + oracle.STD * 0.798, rel=0.15)
