"""The update, its finite check and its randomness, each against something independent."""

import pytest
import torch

from components.core.step import FiniteCheck, NonFiniteLoss, draw, finite_check, optimize
from components.stages.train.average import Averages, share_of_start
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


def test_a_flag_that_is_read_later_names_the_first_step_that_broke_and_its_terms_alone():
    check = FiniteCheck()
    good, bad = torch.tensor(1.0), torch.tensor(float("nan"))
    for step, terms in enumerate([{"a": good, "b": good}, {"a": good, "b": bad}, {"a": bad, "b": bad}, {"a": good, "c": bad}]):
        check.step = step
        check.note(terms)
    with pytest.raises(NonFiniteLoss, match=r"^step 1: not finite: b$"):
        check.read()
    check.read()  # it is forgotten
    check.step = 0
    check.note({"a": bad})
    with pytest.raises(NonFiniteLoss, match=r"^step 0: not finite: a$"):
        check.read()


def test_nothing_that_a_training_noted_is_left_for_the_next():
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    with finite_check() as first:
        first.note({"loss": torch.tensor(float("inf"))})
    with finite_check() as second:
        optimize(quadratic(weight), torch.optim.SGD([weight], lr=0.1))
        second.read()
    optimize(quadratic(weight), torch.optim.SGD([weight], lr=0.1))


def test_a_forward_pass_after_an_update_sees_the_new_weights_in_bf16():
    layer, image = torch.nn.Linear(1, 1, bias=False), torch.ones(1, 1)
    torch.nn.init.constant_(layer.weight, 1.0)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        optimize(layer(image).sum(), optimizer)
        assert layer(image).item() == 0.5


def test_a_parameter_without_gradient_is_left_alone():
    used, unused = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    optimizer = torch.optim.AdamW([used, unused], lr=0.1, weight_decay=0.5)
    optimize((used * 2).sum(), optimizer)
    assert unused.item() == 1.0
    assert unused not in optimizer.state


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


def test_draws_of_earlier_results_are_drawn_again():
    """Whatever was trained with them would end in other weights."""
    given = {"seed": 1, "step": 2}
    assert draw((2, 2), **given, use="noise").flatten().tolist() == pytest.approx(
        [-0.483469, 1.381897, 1.373332, -0.629546], abs=1e-6
    )
    assert draw((3,), **given, use="t", kind="uniform").tolist() == pytest.approx([0.239803, 0.562742, 0.412576], abs=1e-6)
    assert draw((3,), **given, use="t", kind="even").tolist() == pytest.approx([0.239803, 0.573136, 0.906470], abs=1e-6)


def test_even_draws_are_spread_over_the_batch_and_uniform_over_the_steps():
    drawn = torch.stack([draw((10,), seed=0, step=step, use="time", kind="even") for step in range(300)])
    gaps = drawn.sort(dim=1).values.diff(dim=1)
    torch.testing.assert_close(gaps, torch.full_like(gaps, 0.1))
    behind_the_first = torch.remainder(drawn - drawn[:, :1], 1.0)
    torch.testing.assert_close(behind_the_first, (torch.arange(10) / 10).expand(300, 10))
    assert 0 <= drawn.min() < drawn.max() < 1
    assert drawn[:, 0].mean().item() == pytest.approx(0.5, abs=0.05)


def test_even_draws_of_several_numbers_per_image_are_spread_in_each():
    drawn = draw((10, 3), seed=0, step=0, use="time", kind="even")
    assert drawn.shape == (10, 3)
    gaps = drawn.sort(dim=0).values.diff(dim=0)
    torch.testing.assert_close(gaps, torch.full_like(gaps, 0.1))
    assert draw((10,), seed=0, step=0, use="time", kind="even").shape == (10,)


def test_the_average_is_the_closed_form_of_a_geometric_sum():
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(network.weight, 0.0)
    averages = Averages({"network": network}, decay=0.9)
    torch.nn.init.constant_(network.weight, 1.0)
    for step in range(10):
        averages.update(step)
    averages.swap_in()
    assert network.weight.item() == pytest.approx(1 - 0.9**10, rel=1e-6)


def test_a_ramped_up_average_is_the_hand_computed_one_and_copies_buffers():
    network = torch.nn.BatchNorm1d(1)
    averages = Averages({"network": network}, decay=0.3, ramp_up=True)
    expected = 1.0
    for step, weight in enumerate([3.0, -1.0, 4.0, 5.0]):
        torch.nn.init.constant_(network.weight, weight)
        network.running_mean.fill_(weight)
        averages.update(step)
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight
    averages.swap_in()
    assert network.weight.item() == pytest.approx(expected, rel=1e-6)
    assert network.running_mean.item() == 5.0
    assert share_of_start(4, 0.3, ramp_up=True) == pytest.approx(1 / 10 * 2 / 11 * 3 / 12 * 0.3)
    assert share_of_start(4, 0.3, ramp_up=False) == pytest.approx(0.3 * 0.3 * 0.3 * 0.3)


def test_averages_change_places_with_the_live_weights_and_back_also_where_two_networks_share_them():
    shared = torch.nn.Linear(2, 2)
    networks = {"a": torch.nn.Sequential(shared, torch.nn.BatchNorm1d(2)), "b": torch.nn.Sequential(shared)}
    averages = Averages(networks, decay=0.5)
    with torch.no_grad():
        shared.weight.fill_(4.0)
        networks["a"][1].running_mean.fill_(3.0)
    before = [{name: tensor.clone() for name, tensor in part.items()} for part in all_states(networks, averages)]
    with averages.swapped_in():
        assert torch.equal(networks["a"][1].running_mean, torch.zeros(2))
        assert not torch.equal(shared.weight, before[0]["0.weight"])
        assert torch.equal(averages.averages["a"][1].running_mean, torch.full((2,), 3.0))
    after = all_states(networks, averages)
    assert all(torch.equal(part[name], tensor) for old, part in zip(before, after, strict=True) for name, tensor in old.items())


def all_states(networks, averages):
    return [network.state_dict() for network in (*networks.values(), *averages.averages.values())]


def test_the_step_schedule_halves_and_the_constant_one_falls_from_its_fraction_on():
    def scales(schedule, **options):
        return [learning_rate_scale(step, steps=8, warmup=0, schedule=schedule, **options) for step in range(8)]

    assert scales("step", schedule_steps=3) == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]
    assert scales("constant_linear") == [1, 1, 1, 1, 1, 0.75, 0.5, 0.25]
    assert scales("constant_linear", constant_fraction=0.75) == [1, 1, 1, 1, 1, 1, 1, 0.5]
    assert scales("constant_linear", constant_fraction=0.0) == scales("linear")


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
    halved = learning_rate_scale(4, steps=8, warmup=4, schedule="step", schedule_steps=2)
    assert halved == 0.25, "the updates of the warm-up count, and it ends before update 4"


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
