"""What the loop does around a training step, by its consequences in a recipe that records what it meets."""

from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from train.test_validation import view
from workbench import run_settings

from components.core.batch import Stream
from components.core.runtime import mix
from components.core.step import optimize
from components.stages.train import loop, state
from components.stages.train.checkpoint import fingerprint
from components.stages.train.schedule import learning_rate_scale

__all__ = ["view"]
CPU = torch.device("cpu")
torch.set_num_threads(1)


class Recorder(torch.nn.Module):
    """A weight whose gradient is 1, under SGD: it falls by the learning rates. Records mode, precision and dropout's mask."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(8, 8)
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.optimizers = {"sgd": torch.optim.SGD([self.weight], lr=0.5)}
        self.averaged = {}
        self.modes, self.precisions, self.masks = [], [], []

    def streams(self):
        return {"train": Stream("main", 8)}

    def training_step(self, batches, step):
        self.modes += [module.training for module in self.modules()]
        self.precisions.append(self.layer(torch.ones(1, 8)).dtype)
        self.masks.append(F.dropout(torch.ones(64)).tolist())
        optimize(self.weight, self.optimizers["sgd"])
        return {"loss": self.weight}


class Averaged(Recorder):
    """The same weight, in a network whose moving average is saved."""

    def __init__(self):
        super().__init__()
        self.network = torch.nn.ParameterDict({"weight": self.weight})
        self.averaged = {"network": self.network}


class Drawing(Recorder):
    """Its validation figure is nothing but the random numbers that it draws."""

    validation = MappingProxyType({"drawn": "min"})

    def validate(self, batches):
        return {"drawn": torch.rand(len(batches["train"]["image"]))}


def settings_of(**train):
    return run_settings("vit", {}, **{"steps": 12, "batch_size": 8, "warmup": 3, "log_every": 5} | train).train


def train(view, precision="fp32", recipe=None, **changes):
    recipe = recipe or Recorder()
    options = {"device": CPU, "precision": precision, "checkpoints": None, "log": lambda step, point: None}
    return recipe, loop.train(recipe, {"main": view}, settings_of(**changes), **options)


@pytest.mark.parametrize(
    ("schedule", "options"),
    [
        ("cosine", {}),
        ("linear", {}),
        ("constant", {}),
        ("constant_linear", {"constant_fraction": 0.25}),
        ("step", {"schedule_steps": 4}),
    ],
)
def test_every_update_is_made_at_the_schedule_s_rate(view, schedule, options):
    recipe, curves = train(view, schedule=schedule, **options)
    rates = [0.5 * learning_rate_scale(step, steps=12, warmup=3, schedule=schedule, **options) for step in range(12)]
    assert recipe.weight.item() == pytest.approx(-sum(rates), rel=1e-6)
    assert curves.points[-1]["learning_rate"] == pytest.approx(rates[-1])


@pytest.mark.parametrize("ramp_up", [False, True])
def test_the_moving_average_has_the_run_s_decay(view, ramp_up):
    recipe, _ = train(view, recipe=Averaged(), ema_decay=0.75, ema_ramp_up=ramp_up)
    weight = average = 0.0
    for step in range(12):
        weight -= 0.5 * learning_rate_scale(step, steps=12, warmup=3, schedule="cosine")
        decay = min(0.75, (1 + step) / (10 + step)) if ramp_up else 0.75
        average = decay * average + (1 - decay) * weight
    assert recipe.network["weight"].item() == pytest.approx(average, rel=1e-5)
    averages = state.TrainingState(Averaged(), settings_of(ema_decay=0.75), CPU).averages.averages
    assert not any(parameter.requires_grad for parameter in averages["network"].parameters())


def test_a_resumed_training_does_not_scale_its_rates_twice():
    recipe = Recorder()
    training = state.TrainingState(recipe, settings_of(schedule="linear"), CPU)
    for step in (5, 5, 2):
        training.scale_learning_rates(step)
    scale = learning_rate_scale(2, steps=12, warmup=3, schedule="linear")
    assert recipe.optimizers["sgd"].param_groups[0]["lr"] == pytest.approx(0.5 * scale)


def test_every_step_is_in_training_mode(view):
    assert all(train(view, validate_every=0)[0].modes)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_a_step_computes_in_the_run_s_precision(view, precision, dtype):
    assert set(train(view, precision)[0].precisions) == {dtype}


def test_dropout_differs_from_step_to_step_and_not_from_run_to_run(view):
    first, again, other = (train(view, seed=seed)[0].masks for seed in (0, 0, 1))
    assert len({tuple(mask) for mask in first}) == 12
    assert first == again
    assert all(mask != own for mask, own in zip(other, first, strict=True))


def test_dropout_differs_from_process_to_process(monkeypatch):
    masks = []
    for rank in range(3):
        monkeypatch.setattr(state, "processes", lambda rank=rank: (rank, 3))
        recipe = Recorder()
        batch = {"image": torch.zeros(2, 1, 4, 4)}
        state.TrainingState(recipe, settings_of(), CPU).update({"train": batch}, 4, "fp32")
        masks.append(tuple(recipe.masks[0]))
    assert len(set(masks)) == 3


@pytest.mark.parametrize(("log_every", "steps"), [(5, [5, 10, 12]), (6, [6, 12]), (100, [12])])
def test_the_last_update_is_in_the_curves(view, log_every, steps):
    _, curves = train(view, log_every=log_every)
    assert [point["step"] for point in curves.points] == steps
    trajectory = -np.cumsum([0.5 * learning_rate_scale(step, steps=12, warmup=3, schedule="cosine") for step in range(12)])
    after = steps[-2] if len(steps) > 1 else 0
    assert curves.points[-1]["loss"] == pytest.approx(trajectory[after:].mean(), rel=1e-5), "the mean since the last point"


def test_a_fingerprint_names_inputs_conditions_and_torch(monkeypatch):
    conditions = {"device": "cpu", "precision": "fp32", "processes": 1}
    keys = [fingerprint("a", **conditions), fingerprint("b", **conditions)]
    keys += [
        fingerprint("a", **conditions | changed) for changed in ({"device": "cuda"}, {"precision": "bf16"}, {"processes": 2})
    ]
    keys.append(fingerprint("a", **conditions, batch_size=64))
    monkeypatch.setattr(torch, "__version__", "0")
    keys.append(fingerprint("a", **conditions))
    assert len(set(keys)) == len(keys)


def test_every_point_of_the_validation_curve_has_the_same_random_numbers(view):
    """Else the curve of a figure that draws noise moves without a change of the weights."""
    curves = [train(view, recipe=Drawing(), validate_every=4, seed=seed)[1] for seed in (0, 1)]
    first, other = ([point["validation.drawn"] for point in curve.points if "validation.drawn" in point] for curve in curves)
    assert len(first) == 3
    assert len({*first}) == len({*other}) == 1
    assert first[0] != other[0]
    drawn = []
    for index, images in enumerate((8, 8, 6)):
        torch.manual_seed(mix(0, "validation", index))
        drawn.append(torch.rand(images))
    assert first[0] == pytest.approx(torch.cat(drawn).double().mean().item())


def test_a_first_batch_that_breaks_the_contract_is_refused():
    training = state.TrainingState(Recorder(), settings_of(), CPU)
    with pytest.raises(ValueError, match=r"batch key 'colour' is not in the contract"):
        training.update({"train": {"image": torch.zeros(2, 1, 4, 4), "colour": torch.zeros(2)}}, 0, "fp32")


def test_the_log_has_the_images_per_second_since_its_last_point(monkeypatch):
    clock = iter([100.0, 102.0, 106.0])
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    logged = []
    progress = loop.Progress(Recorder(), settings_of(), 4, lambda step, point: logged.append((step, dict(point))))
    progress.show(6, {"loss": 1.0})
    progress.show(7, {})
    assert logged == [(6, {"loss": 1.0, "images_per_second": 2 * 8 / 2}), (7, {"images_per_second": 1 * 8 / 4})]
