"""The loop: what is interrupted ends as what is not; a bad loss stops it; a full disk loses nothing."""

import errno
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import create_model
from workbench import run_settings, write_view

from components.core import step as step_module
from components.core.config.strict import SettingsError, Strict, parse
from components.core.recipe import Schedule
from components.core.runtime import multiplies_bf16, resolve_precision
from components.core.step import NonFiniteLoss
from components.stages.assemble import build_recipe
from components.stages.train import loop, processes
from components.stages.train.checkpoint import Checkpoints, serialise
from components.stages.train.settings import LoopSettings
from components.stages.views.view import open_view

MODELS = {
    "vit": {"patch": 4, "width": 16, "depth": 2, "heads": 2, "dropout": 0.1},
    "pp_lcnet": {"scale": 0.25},
    "resnet18": {"width": 8},
}


@pytest.fixture
def view(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, size=(24, 16, 16, 1), dtype=np.uint8)
    return open_view(write_view(tmp_path / "view", images=images, labels=np.arange(24) % 3, classes=("a", "b", "c")))


def settings_of(model="resnet18", **train):
    block = {"steps": 12, "batch_size": 10, "checkpoint_every": 5, "log_every": 4, "ema_decay": 0.9}
    return run_settings(model, MODELS[model], **block | train)


def train(view, settings, folder, precision="fp32"):
    torch.set_num_threads(1)
    recipe = build_recipe(settings, {"main": view}, {})
    curves = loop.train(
        recipe,
        {"main": view},
        settings.train,
        device=torch.device("cpu"),
        precision=precision,
        checkpoints=Checkpoints(folder),
        log=lambda step, point: None,
    )
    return recipe, curves


def same_bits(first, second):
    return serialise({k: v.contiguous() for k, v in first.state_dict().items()}) == serialise(
        {k: v.contiguous() for k, v in second.state_dict().items()}
    )


class Killed(BaseException):
    """Stands for SIGKILL within one process: nothing may catch it and save."""


@pytest.mark.parametrize("model", MODELS)
def test_interrupted_and_resumed_equals_undisturbed_bit_for_bit(view, tmp_path, monkeypatch, capsys, model):
    options = {"ema_ramp_up": model == "vit", "ema_decay": 0.4}
    whole, curve = train(view, settings_of(model, **options), tmp_path / "whole")

    update, calls = loop.TrainingState.update, []

    def dies_at_step_8(self, batches, step, precision):
        calls.append(step)
        if step == 8 and calls.count(8) == 1:
            raise Killed
        update(self, batches, step, precision)

    monkeypatch.setattr(loop.TrainingState, "update", dies_at_step_8)
    with pytest.raises(Killed):
        train(view, settings_of(model, **options), tmp_path / "killed")
    resumed, resumed_curve = train(view, settings_of(model, **options), tmp_path / "killed")
    assert calls == [*range(9), *range(5, 12)], "it went on from the checkpoint at 5"
    assert capsys.readouterr().err.count("resuming from the checkpoint at step 5\n") == 1
    assert same_bits(whole, resumed)
    assert curve.to_csv() == resumed_curve.to_csv()


def test_sigterm_finishes_the_step_checkpoints_and_ends(view, tmp_path, monkeypatch):
    update = loop.TrainingState.update

    def signalled_at_step_6(self, batches, step, precision):
        if step == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        update(self, batches, step, precision)

    monkeypatch.setattr(loop.TrainingState, "update", signalled_at_step_6)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(loop.Stopped, match="step 7"):
        train(view, settings_of(), tmp_path / "checkpoints")
    step, _ = Checkpoints(tmp_path / "checkpoints").latest()
    assert step == 7
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN, "a second one would cut off what is said of the first"
    signal.signal(signal.SIGTERM, before)
    monkeypatch.setattr(loop.TrainingState, "update", update)
    train(view, settings_of(), tmp_path / "checkpoints")
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_saved_weights_are_the_averages(view, tmp_path):
    averaged, _ = train(view, settings_of(), tmp_path / "a")
    plain, _ = train(view, settings_of(ema_decay=None), tmp_path / "b")
    assert not same_bits(averaged, plain)


def test_a_nan_loss_stops_names_the_step_and_leaves_the_checkpoint(view, tmp_path, monkeypatch):
    update = loop.TrainingState.update

    def poisoned(self, batches, step, precision):
        if step == 7:
            batches["train"]["image"].fill_(float("nan"))
        update(self, batches, step, precision)

    monkeypatch.setattr(loop.TrainingState, "update", poisoned)
    with pytest.raises(NonFiniteLoss, match=r"step 7: not finite: loss"):
        train(view, settings_of(), tmp_path / "checkpoints")
    step, state = Checkpoints(tmp_path / "checkpoints").latest()
    assert step == 5
    assert all(torch.isfinite(t).all() for t in state["recipe"].values())


def test_a_full_disk_while_checkpointing_leaves_the_last_checkpoint_whole(view, tmp_path, monkeypatch):
    fsync, calls = os.fsync, []

    def full_at_second(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full_at_second)
    with pytest.raises(OSError, match=r"checkpoint at step 10 not written.*No space left.*whole one: step 5"):
        train(view, settings_of(), tmp_path / "checkpoints")
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["000000005.pt"]
    resumed, _ = train(view, settings_of(), tmp_path / "checkpoints")
    whole, _ = train(view, settings_of(), tmp_path / "whole")
    assert same_bits(whole, resumed)


def test_a_bad_loss_is_named_with_its_step_where_flags_are_read_late(view, tmp_path, monkeypatch):
    """As on CUDA: no update reads its flags, the next log point does."""
    monkeypatch.setattr(step_module, "_check_finite", lambda terms: step_module._training.get().note(terms))
    update = loop.TrainingState.update

    def poisoned(self, batches, step, precision):
        if step == 5:
            batches["train"]["image"].fill_(float("nan"))
        update(self, batches, step, precision)

    monkeypatch.setattr(loop.TrainingState, "update", poisoned)
    with pytest.raises(NonFiniteLoss, match=r"^step 5: not finite: loss, gradient$"):
        train(view, settings_of(checkpoint_every=50), tmp_path / "first")
    with pytest.raises(NonFiniteLoss, match=r"^step 5: not finite: loss, gradient$"):
        train(view, settings_of(checkpoint_every=3, log_every=50), tmp_path / "kept")
    assert Checkpoints(tmp_path / "kept").latest()[0] == 3, "the one of step 6 would hold the bad weights"
    monkeypatch.setattr(loop.TrainingState, "update", update)
    train(view, settings_of(), tmp_path / "second")


def test_the_first_process_alone_shows_a_bar_with_what_was_done_and_the_figures(view, monkeypatch):
    settings = settings_of()
    recipe = build_recipe(settings, {"main": view}, {})
    for rank in (0, 1):
        monkeypatch.setattr(loop, "processes", lambda rank=rank: (rank, 2))
        progress = loop.Progress(recipe, settings.train, 4, lambda step, point: None)
        with progress.bar as bar:
            assert bar.disable == (rank == 1)
            if rank == 0:
                progress.show(8, {"loss": 0.25})
                assert (bar.total, bar.n) == (12, 4)
                assert bar.postfix.startswith("loss=0.25, images/s=")


def test_every_feed_is_closed_even_if_one_raises():
    closed = []

    class Feed:
        def __init__(self, name, fault=None):
            self.name, self.fault = name, fault

        def close(self):
            closed.append(self.name)
            if self.fault:
                raise self.fault

    feeds = {"a": Feed("a"), "b": Feed("b", RuntimeError("stuck")), "c": Feed("c")}
    with pytest.raises(RuntimeError, match="stuck"), loop.closing_all(feeds):
        pass
    assert sorted(closed) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"warmup": 13}, r"warmup: 13 is not allowed: at most steps, 12"),
        ({"schedule": "step"}, r"schedule_steps: missing"),
        ({"schedule_steps": 4}, r"schedule_steps: not allowed with schedule cosine"),
        ({"constant_fraction": 0.2}, r"constant_fraction: not allowed with schedule cosine"),
        ({"ema_ramp_up": True, "ema_decay": None}, r"ema_ramp_up: true is not allowed without ema_decay"),
    ],
)
def test_settings_of_the_loop_that_do_not_fit_are_refused(given, fault):
    with pytest.raises(ValueError, match=fault):
        settings_of(**given)
    settings_of(warmup=12)


BOUNDS = {  # key: (least and most that are allowed, what is not)
    "seed": ((0, 2**31 - 1), (-1, 2**31)),
    "threads": ((1, 256), (0, 257)),
    "processes": ((1, 4096), (0, 4097)),
    "steps": ((1,), (0,)),
    "warmup": ((0,), (-1,)),
    "ema_decay": ((1e-9, 1 - 1e-9), (0, 1)),
    "validate_every": ((0,), (-1,)),
    "patience": ((1,), (0,)),
    "workers": ((0, 64), (-1, 65)),
    "checkpoint_every": ((1,), (0,)),
    "log_every": ((1,), (0,)),
}


def test_settings_of_the_loop_have_bounds():
    for key, (allowed, refused) in BOUNDS.items():
        for value in allowed:
            assert getattr(LoopSettings(**{"steps": 12} | {key: value}), key) == value
        for value in refused:
            with pytest.raises(ValueError, match=rf"^1 validation error[^:]*\n{key}\n"):
                LoopSettings(**{"steps": 12} | {key: value})
    LoopSettings(steps=12, schedule="constant_linear", constant_fraction=0)
    LoopSettings(steps=12, schedule="step", schedule_steps=1)
    for given in ({"schedule": "constant_linear", "constant_fraction": -0.1}, {"schedule": "step", "schedule_steps": 0}):
        with pytest.raises(ValueError, match="greater than or equal to"):
            LoopSettings(steps=12, **given)
    with pytest.raises(ValueError, match="less than 1"):
        LoopSettings(steps=12, schedule="constant_linear", constant_fraction=1)


def test_a_family_s_default_beats_the_loop_s_and_the_run_beats_both():
    class Paper(Strict):
        schedule: Schedule = "step"
        schedule_steps: int | None = 4
        ema_decay: float | None = 0.999
        ema_ramp_up: bool = True

    cls = create_model("Train", __base__=(Paper, LoopSettings))
    block = {"seed": 0, "threads": 1, "precision": "fp32", "steps": 12}
    papers = parse(cls, block, "train")
    assert (papers.schedule, papers.schedule_steps, papers.ema_decay, papers.warmup) == ("step", 4, 0.999, 0)
    runs = parse(cls, block | {"schedule": "linear", "ema_decay": None}, "train")
    assert (runs.schedule, runs.ema_decay) == ("linear", None)
    with pytest.raises(SettingsError, match=r"train\.average_decay: renamed; it is called 'ema_decay' now"):
        parse(cls, block | {"average_decay": 0.9}, "train")


def test_a_split_that_is_not_there_is_noticed_before_training(view):
    from components.stages.train.stage import check_split

    missing = replace(view.facts, counts={"train": 24})
    with pytest.raises(ValueError, match=r"runs\.test\.evaluate\.split: 'test' is not in view 'view'; it has: train"):
        check_split("test", "test", missing)
    check_split("test", "test", view.facts)


def test_a_checkpoint_of_a_gpu_is_read_where_there_is_none(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:3")
        Checkpoints(tmp_path).save(7, {"weight": torch.arange(3.0)})
    step, state = Checkpoints(tmp_path).latest()
    assert (step, state["weight"].tolist()) == (7, [0.0, 1.0, 2.0])


def test_processes_that_start_from_other_weights_are_refused(view, tmp_path, monkeypatch):
    """As rank 0 of two, whose other process reports the digest of weights that it drew itself."""
    monkeypatch.setattr(loop, "processes", lambda: (0, 2))
    monkeypatch.setattr(processes, "gather", lambda own: torch.cat([own, own + 1]))
    with pytest.raises(ValueError, match=r"initial weights must be the same on all processes; .* those of rank 1"):
        train(view, settings_of(), tmp_path)


def test_two_checkpoints_are_kept(view, tmp_path):
    train(view, settings_of(steps=12, checkpoint_every=2), tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.pt")) == ["000000008.pt", "000000010.pt"]


def test_bf16_trains_and_auto_asks_hardware_and_recipe(view, tmp_path):
    _, curves = train(view, settings_of("resnet18", steps=8), tmp_path, precision="bf16")
    assert all(np.isfinite(point["loss"]) for point in curves.points)
    cpu = torch.device("cpu")
    assert resolve_precision("auto", cpu, prefers_fp32=False) == ("bf16" if multiplies_bf16(cpu) else "fp32")
    assert resolve_precision("auto", cpu, prefers_fp32=True) == "fp32"
    assert resolve_precision("bf16", cpu, prefers_fp32=True) == "bf16"


def test_images_reach_the_network_channels_last_and_in_range(view, tmp_path, monkeypatch):
    seen = []
    update = loop.TrainingState.update

    def watch(self, batches, step, precision):
        seen.append(batches["train"]["image"])
        update(self, batches, step, precision)

    monkeypatch.setattr(loop.TrainingState, "update", watch)
    recipe, _ = train(view, settings_of(steps=2), tmp_path)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert -1 <= seen[0].min() < seen[0].max() <= 1
    assert recipe.classifier.network.conv1.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_classifier_of_one_class_is_refused(view, tmp_path):
    single = open_view(
        write_view(tmp_path / "one", images=np.zeros((4, 16, 16, 1), np.uint8), labels=np.zeros(4, int), classes=("cats",))
    )
    with pytest.raises(ValueError, match=r"runs\.test.*'one' has 1 class.*cats.*at least 2"):
        build_recipe(replace(settings_of(), view="one"), {"main": single}, {})


@pytest.mark.slow
def test_compiled_networks_train_to_the_same_loss(view, tmp_path):
    _, plain = train(view, settings_of("vit", steps=6), tmp_path / "plain")
    _, compiled = train(view, settings_of("vit", steps=6, compile=True), tmp_path / "compiled")
    assert compiled.points[-1]["loss"] == pytest.approx(plain.points[-1]["loss"], rel=0.02)
