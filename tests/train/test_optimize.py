"""The update, its finite check and its randomness, each against something independent."""

import pytest
import torch

from components.core.step import NonFiniteLoss, draw, optimize
from components.stages.train.average import Averages
from components.stages.train.curves import Curves
from components.stages.train.schedule import learning_rate_scale


def quadratic(weight):
    return (weight**2).sum() / 2  # gradient: the weight itself


def test_an_sgd_step_on_a_quadratic_is_the_closed_form():
    weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    total = optimize({"half": quadratic(weight) / 2, "rest": quadratic(weight) / 2}, optimizer)
    assert total.item() == pytest.approx(12.5)
    torch.testing.assert_close(weight.detach(), torch.tensor([2.7, 3.6]))


def test_clipping_bounds_the_step_by_norm_and_learning_rate():
    weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    optimize(quadratic(weight), torch.optim.SGD([weight], lr=1.0), clip_norm=1.0)
    torch.testing.assert_close(weight.detach(), torch.tensor([3.0, 4.0]) * (1 - 1 / 5), rtol=1e-5, atol=1e-6)


def test_gradients_of_an_earlier_backward_do_not_leak_in():
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    (1000 * weight).sum().backward()
    optimize(quadratic(weight), torch.optim.SGD([weight], lr=0.5))
    assert weight.item() == pytest.approx(0.5)


@pytest.mark.parametrize("bad", ["nan", "inf"])
def test_a_non_finite_term_is_named_and_the_weights_stay(bad):
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    terms = {"fine": quadratic(weight), "adversarial": quadratic(weight) * float(bad)}
    with pytest.raises(NonFiniteLoss, match="adversarial"):
        optimize(terms, torch.optim.SGD([weight], lr=0.1))
    assert weight.item() == 1.0


def test_a_finite_loss_with_an_infinite_gradient_is_caught():
    weight = torch.nn.Parameter(torch.tensor([0.0]))
    with pytest.raises(NonFiniteLoss, match="gradient"):
        optimize(weight.sqrt().sum(), torch.optim.SGD([weight], lr=0.1))
    assert weight.item() == 0.0


def test_draws_depend_on_seed_step_and_use_alone():
    first = draw((4, 3), seed=1, step=5, use="noise")
    torch.manual_seed(99)
    torch.testing.assert_close(draw((4, 3), seed=1, step=5, use="noise"), first, rtol=0, atol=0)
    for other in (
        {"seed": 2, "step": 5, "use": "noise"},
        {"seed": 1, "step": 6, "use": "noise"},
        {"seed": 1, "step": 5, "use": "style"},
    ):
        assert not torch.equal(draw((4, 3), **other), first)
    uniform = draw((20000,), seed=0, step=0, use="t", kind="uniform")
    assert 0 <= uniform.min() < uniform.max() < 1
    assert uniform.mean().item() == pytest.approx(0.5, abs=0.01)


def test_even_draws_are_spread_over_the_batch_and_uniform_over_the_steps():
    drawn = torch.stack([draw((10,), seed=0, step=step, use="time", kind="even") for step in range(300)])
    gaps = drawn.sort(dim=1).values.diff(dim=1)
    torch.testing.assert_close(gaps, torch.full_like(gaps, 0.1))
    assert 0 <= drawn.min() < drawn.max() < 1
    assert drawn[:, 0].mean().item() == pytest.approx(0.5, abs=0.05)


def test_the_average_is_the_closed_form_of_a_geometric_sum():
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(network.weight, 0.0)
    averages = Averages({"network": network}, decay=0.9)
    torch.nn.init.constant_(network.weight, 1.0)
    for _ in range(10):
        averages.update()
    averages.swap_in()
    assert network.weight.item() == pytest.approx(1 - 0.9**10, rel=1e-6)


def test_schedules_at_their_ends():
    def scale(step, schedule="cosine", warmup=10):
        return learning_rate_scale(step, steps=110, warmup=warmup, schedule=schedule)

    assert scale(0) == pytest.approx(1 / 11)
    assert scale(9) == pytest.approx(10 / 11)
    assert scale(10) == 1.0
    assert scale(60) == pytest.approx(0.5)
    assert 0 < scale(109) < 1e-3
    assert scale(60, "linear") == pytest.approx(0.5)
    assert scale(109, "constant") == 1.0


def test_curves_are_means_between_points_and_survive_a_checkpoint():
    whole, first, second = Curves(), Curves(), Curves()
    values = torch.arange(10.0)
    for value in values:
        whole.add({"loss": value})
    for value in values[:4]:
        first.add({"loss": value})
    second.load_state_dict(first.state_dict(), torch.device("cpu"))
    for value in values[4:]:
        second.add({"loss": value})
    whole.close(10, learning_rate=0.5)
    second.close(10, learning_rate=0.5)
    assert whole.to_csv() == second.to_csv() == b"step,learning_rate,loss\n10,0.5,4.5\n"
