"""The validation curve observes and disturbs nothing; the weights that are saved and the early stop follow it."""

import json
import os
import signal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toy.recipe import Toy
from workbench import run_settings, write_view

from components.core.batch import to_unit_range
from components.core.settings import Workspace
from components.families.classification.recipe import Classification
from components.stages.assemble import build_recipe
from components.stages.train import loop
from components.stages.train.checkpoint import Checkpoints
from components.stages.train.curves import Curves
from components.stages.train.processes import digest
from components.stages.train.stage import check_curve, print_outcome, write_outs
from components.stages.train.validation import Validation, check_validation
from components.stages.views.view import open_view

NETWORKS = {"vit": {"patch": 4, "width": 16, "depth": 1, "heads": 2, "dropout": 0.1}, "resnet18": {"width": 8}}
NLL = "validation.negative_log_likelihood"


@pytest.fixture
def view(tmp_path):
    """Validation images that differ from those of training, 22 of them: the last batch is smaller."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, size=(24, 16, 16, 1), dtype=np.uint8)
    folder = write_view(tmp_path / "view", images=images, labels=np.arange(24) % 3, classes=("a", "b", "c"))
    np.save(folder / "validation.image.npy", rng.integers(0, 256, size=(22, 16, 16, 1), dtype=np.uint8))
    np.save(folder / "validation.label.npy", np.arange(22) % 3)
    return open_view(folder)


def train(view, model="resnet18", folder=None, log=lambda step, point: None, **changes):
    torch.set_num_threads(1)
    block = {"steps": 12, "batch_size": 10, "checkpoint_every": 5, "log_every": 4, "ema_decay": 0.8, "schedule": "constant"}
    settings = run_settings(model, NETWORKS[model], **block | changes)
    recipe = build_recipe(settings, {"main": view}, {})
    place = {"device": torch.device("cpu"), "precision": "fp32"}
    checkpoints = Checkpoints(folder) if folder else None
    curves = loop.train(recipe, {"main": view}, settings.train, **place, checkpoints=checkpoints, log=log)
    return recipe, curves


def column(curves, name):
    return {point["step"]: point[name] for point in curves.points if name in point}


def scripted(monkeypatch, *values):
    """Replace what is measured: the figure of each validation in turn."""
    left = list(values)
    monkeypatch.setattr(Validation, "measure", lambda self, averages: {NLL: left.pop(0), "validation.accuracy": 0.5})


@pytest.mark.parametrize("model", NETWORKS)
@pytest.mark.parametrize("ema_decay", [0.8, None])
def test_the_curve_changes_no_bit_of_the_training(view, model, ema_decay):
    silent, expected = train(view, model, validate_every=0, ema_decay=ema_decay)
    seen = []
    update = loop.TrainingState.update
    with pytest.MonkeyPatch.context() as patch:

        def note(self, batches, step, precision):
            update(self, batches, step, precision)
            seen.append((torch.get_rng_state().tolist(), [module.training for module in self.recipe.modules()]))

        patch.setattr(loop.TrainingState, "update", note)
        watched, curves = train(view, model, validate_every=1, ema_decay=ema_decay)
    assert digest(watched.state_dict()) == digest(silent.state_dict())
    for name in ("loss", "accuracy", "learning_rate"):
        assert column(curves, name) == column(expected, name)
    assert list(column(curves, NLL)) == [*range(1, 13)]
    assert list(column(expected, NLL)) == []
    assert all(all(modes) for _, modes in seen)


def test_validation_leaves_the_random_state_modes_and_buffers_as_they_were(view):
    recipe, _ = train(view, "resnet18", steps=2)
    settings = run_settings("resnet18", NETWORKS["resnet18"], batch_size=10)
    recipe.classifier.network.head.eval()  # as a recipe may have it
    state = loop.TrainingState(recipe, settings.train, torch.device("cpu"))
    validation = Validation.of(recipe, {"main": view}, settings.train, device=torch.device("cpu"), precision="fp32")
    torch.manual_seed(99)
    before = torch.get_rng_state(), digest(recipe.state_dict()), [module.training for module in recipe.modules()]
    validation.measure(state.averages)
    after = torch.get_rng_state(), digest(recipe.state_dict()), [module.training for module in recipe.modules()]
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


@pytest.mark.parametrize("model", NETWORKS)
def test_figures_are_those_of_the_averaged_weights_in_eval_mode(view, model):
    recipe, curves = train(view, model, validate_every=5)
    recipe.eval()
    arrays = view.split("validation")
    with torch.no_grad():
        logits, _ = recipe.classifier(to_unit_range(torch.from_numpy(np.array(arrays.images))))
    label = torch.from_numpy(arrays.columns["label"])
    assert list(column(curves, NLL)) == [5, 10, 12]
    assert column(curves, NLL)[12] == pytest.approx(F.cross_entropy(logits, label).item(), rel=1e-5)
    assert column(curves, "validation.accuracy")[12] == pytest.approx((logits.argmax(1) == label).double().mean().item())
    shorter = column(train(view, model, validate_every=5, steps=5)[1], NLL)
    assert shorter[5] == column(curves, NLL)[5], "in the middle as at the end"
    plain = column(train(view, model, validate_every=5, ema_decay=None)[1], NLL)
    assert plain[12] != column(curves, NLL)[12]


def test_the_best_weights_are_saved_the_earlier_of_two(view, monkeypatch):
    scripted(monkeypatch, 3.0, 1.0, 1.0, float("nan"))
    best, curves = train(view, validate_every=3, select="best")
    assert curves.outcome(12) == {"selected_step": 6}
    monkeypatch.undo()
    assert digest(best.state_dict()) == digest(train(view, steps=6)[0].state_dict())


def test_a_metric_that_grows_selects_its_maximum(view, monkeypatch):
    figures = [{NLL: 0.0, "validation.accuracy": value} for value in (0.2, 0.6, 0.4, 0.1)]
    monkeypatch.setattr(Validation, "measure", lambda self, averages: figures.pop(0))
    _, curves = train(view, validate_every=3, select="best", select_metric="accuracy")
    assert curves.selected == 6


def test_patience_stops_and_the_steps_done_are_known(view, monkeypatch):
    scripted(monkeypatch, 3.0, 1.0, 2.0, 1.5)
    stopped, curves = train(view, validate_every=2, patience=2)
    assert curves.outcome(12) == {"stopped_at": 8}
    assert [point["step"] for point in curves.points] == [2, 4, 6, 8]
    assert "loss" in curves.points[-1]
    monkeypatch.undo()
    assert digest(stopped.state_dict()) == digest(train(view, steps=8)[0].state_dict())


def test_patience_that_lasts_saves_the_last_weights(view):
    whole, curves = train(view, validate_every=3, patience=4)
    assert curves.outcome(12) == {}
    assert digest(whole.state_dict()) == digest(train(view)[0].state_dict())


class Killed(BaseException):
    """Stands for SIGKILL within one process: nothing may catch it and save."""


@pytest.mark.parametrize("dies_at", [4, 8, 9])
def test_killed_and_resumed_follows_the_same_curve_to_the_same_choice(view, tmp_path, monkeypatch, dies_at):
    """The checkpoints are at 3, 6 and 9, the best validation at 4, and patience ends at 10."""
    values = {2: 3.0, 4: 1.0, 6: 2.5, 8: 1.5, 10: 1.2, 12: 0.5}
    monkeypatch.setattr(Validation, "measure", lambda self, averages: {NLL: values[now[-1] + 1]})
    update, now = loop.TrainingState.update, []

    def dies(self, batches, step, precision):
        now.append(step)
        if step == dies_at and now.count(step) == 1:
            raise Killed
        update(self, batches, step, precision)

    options = {"validate_every": 2, "select": "best", "patience": 3, "checkpoint_every": 3}
    monkeypatch.setattr(
        loop.TrainingState,
        "update",
        lambda self, batches, step, precision: now.append(step) or update(self, batches, step, precision),
    )
    whole, curves = train(view, **options)
    now.clear()
    monkeypatch.setattr(loop.TrainingState, "update", dies)
    with pytest.raises(Killed):
        train(view, folder=tmp_path / "checkpoints", **options)
    resumed, again = train(view, folder=tmp_path / "checkpoints", **options)
    assert digest(resumed.state_dict()) == digest(whole.state_dict())
    assert again.to_csv() == curves.to_csv()
    assert again.outcome(12) == curves.outcome(12) == {"selected_step": 4, "stopped_at": 10}


def test_a_signal_at_the_step_at_which_patience_ends_does_not_train_on(view, tmp_path, monkeypatch):
    scripted(monkeypatch, 1.0, 2.0)
    update = loop.TrainingState.update

    def signalled(self, batches, step, precision):
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        update(self, batches, step, precision)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(loop.TrainingState, "update", signalled)
    with pytest.raises(loop.Stopped, match="step 4"):
        train(view, folder=tmp_path / "checkpoints", validate_every=2, patience=1)
    signal.signal(signal.SIGTERM, before)
    _, curves = train(view, folder=tmp_path / "checkpoints", validate_every=2, patience=1)
    assert curves.outcome(12) == {"stopped_at": 4}


def test_the_file_of_the_weights_names_only_settings_that_decide(view, tmp_path, capsys):
    """An export is not stale because the curve has more points; settings.json records them and what came of the training."""

    def written(outcome, **train):
        settings = run_settings("resnet18", NETWORKS["resnet18"], **train)
        recipe = build_recipe(settings, {"main": view}, {})
        write_outs(Workspace(tmp_path), settings, view.facts, recipe=recipe, curves=Curves(), resolved=outcome)
        print_outcome(settings, outcome)
        out = tmp_path / "outputs/train/test"
        content = torch.load(out / "weights.pt", weights_only=True)["settings"]["train"]
        return (out / "weights.pt").read_bytes(), content, json.loads((out / "settings.json").read_text())["train"]

    plain, named, _ = written({})
    again, _, recorded = written({}, validate_every=7)
    assert plain == again
    assert recorded["validate_every"] == 7
    assert {"validate_every", "select", "select_metric", "patience", "batch_norm"}.isdisjoint(named)
    outcome = {"selected_step": 4, "stopped_at": 8}
    _, named, recorded = written(outcome, select="best", patience=3, validate_every=2, batch_norm="reestimated")
    assert {"select": "best", "patience": 3, "validate_every": 2, "batch_norm": "reestimated"}.items() <= named.items()
    assert outcome.items() <= recorded.items()
    assert "test: stopped at step 8 of 10: 3 validations" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("images", "steps", "every"), [(100, 1000, 50), (1000, 1000, 67), (10**6, 1000, 1000), (100, 5, 5), (1, 7, 1)]
)
def test_the_default_curve_costs_a_bounded_share_of_the_training(view, images, steps, every):
    """20 points; as many as there are in a fifth of 75,000 trained images; at least one."""
    settings = run_settings("vit", NETWORKS["vit"], steps=steps, batch_size=75).train
    recipe = build_recipe(run_settings("vit", NETWORKS["vit"], batch_size=75), {"main": view}, {})
    view.facts.counts["validation"] = images
    found = Validation.of(recipe, {"main": view}, settings, device=torch.device("cpu"), precision="fp32")
    assert found.every == every


def test_the_log_has_the_points_and_the_speed_which_no_file_has(view):
    logged = {}
    _, curves = train(view, validate_every=3, log=lambda step, point: logged.update({step: dict(point)}))
    assert list(logged) == [3, 4, 6, 8, 9, 12]
    assert all(point.pop("images_per_second") > 0 for point in logged.values())
    assert [{"step": step, **point} for step, point in logged.items()] == curves.points
    assert b"images_per_second" not in curves.to_csv()


@pytest.mark.parametrize(
    ("recipe", "given", "fault"),
    [
        (Toy, {"patience": 3}, r"runs\.r\.train\.patience: 3 is not allowed: Toy has no validation figures"),
        (Toy, {"select": "best"}, r"runs\.r\.train\.select: best is not allowed: Toy has no validation figures"),
        (Toy, {"validate_every": 5}, r"runs\.r\.train\.validate_every: 5 is not allowed: Toy has no validation figures"),
        (
            Classification,
            {"select": "best", "select_metric": "f1"},
            r"runs\.r\.train\.select_metric: 'f1' is not allowed; allowed: negative_log_likelihood, accuracy",
        ),
    ],
)
def test_a_curve_that_the_recipe_does_not_have_is_refused(recipe, given, fault):
    settings = run_settings("vit", NETWORKS["vit"], **given).train
    with pytest.raises(ValueError, match=fault):
        check_validation(recipe, settings, "runs.r.train")
    check_validation(Toy, run_settings("vit", NETWORKS["vit"], validate_every=0).train, "runs.r.train")


def test_a_curve_without_a_validation_split_is_refused_or_left_out(view):
    del view.facts.counts["validation"]
    settings = run_settings("vit", NETWORKS["vit"], patience=2)
    recipe = build_recipe(settings, {"main": view}, {})
    with pytest.raises(ValueError, match=r"runs\.test\.train: the validation curve needs a validation split; .*: test, train"):
        check_curve(settings, recipe, view.facts)
    check_curve(run_settings("vit", NETWORKS["vit"]), recipe, view.facts)
    _, curves = train(view)
    assert b"validation" not in curves.to_csv()


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"select": "best", "validate_every": 0}, r"select: best is not allowed with validate_every: 0"),
        ({"patience": 2, "validate_every": 0}, r"patience: 2 is not allowed with validate_every: 0"),
        ({"select_metric": "accuracy"}, r"select_metric: accuracy is not allowed without select: best or patience"),
    ],
)
def test_settings_of_the_selection_that_do_not_fit_are_refused(given, fault):
    with pytest.raises(ValueError, match=fault):
        run_settings("vit", NETWORKS["vit"], **given)
