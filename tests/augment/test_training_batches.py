"""Training batches are functions of (seed, role, step): not of workers, resume, processes, or what was drawn before."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from components.core.batch import Stream
from components.core.settings import ROOT
from components.stages.augment.policy.policies import ViewSettings
from components.stages.augment.policy.validation import validate_policy
from components.stages.views import loader
from components.stages.views.draws import NUM_UNIFORMS, Augmenter, Draws, albumentations, generator, load_policy
from components.stages.views.loader import training_batches
from components.stages.views.order import Balanced, Shuffle

POLICY = [
    {"Affine": {"rotate": [-20, 20], "translate_percent": [-0.1, 0.1], "p": 0.9}},
    {"OneOf": {"transforms": [{"GaussNoise": {}}, {"CoarseDropout": {"fill": "random"}}], "p": 0.5}},
    {"RandomBrightnessContrast": {"p": 0.5}},
]
STREAM = Stream("main", 16)


@pytest.fixture
def view(noise_out, make):
    return make(noise_out(), split={"test": 0.2}, augment=POLICY)


@pytest.fixture
def plain(noise_out, make):
    return make(noise_out(), split={"test": 0.2})


def batches(view, stream=STREAM, *, role="train", seed=0, start=0, steps=6, workers=0, rank=0, world=1):
    options = {"start_step": start, "steps": steps, "workers": workers, "rank": rank, "world": world}
    return list(training_batches(view, stream, role=role, seed=seed, **options))


def same(first, second):
    return len(first) == len(second) and all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a) for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("workers", [1, 4])
def test_workers_change_nothing_and_leave_the_global_generator_alone(view, workers):
    alone = batches(view)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    assert same(batches(view, workers=workers), alone)
    assert torch.equal(torch.rand(1), expected)
    assert {name: (t.dtype, tuple(t.shape)) for name, t in alone[0].items()} == {
        "image": (torch.uint8, (16, 12, 12, 1)),
        "label": (torch.int64, (16,)),
    }


@pytest.mark.parametrize("sampler", ["shuffle", "balanced"])
def test_resuming_gives_the_rest_and_ranks_give_slices(view, sampler):
    stream = Stream("main", 16, sampler=sampler)
    whole = batches(view, stream)
    assert same(batches(view, stream, start=4), whole[4:])
    slices = [batches(view, stream, rank=rank, world=2) for rank in (0, 1)]
    assert {len(batch["label"]) for each in slices for batch in each} == {8}, "both do half of the work"
    joined = [{name: torch.cat([a[name], b[name]]) for name in a} for a, b in zip(*slices, strict=True)]
    assert same(joined, whole)
    with pytest.raises(ValueError, match=r"batch_size 16 is not a multiple of 3 processes"):
        batches(view, stream, world=3)


def test_epochs_items_roles_and_seeds_draw_differently(arrays_out, make, view):
    picture = np.random.default_rng(0).integers(0, 256, (1, 12, 12), dtype=np.uint8)
    dataset = arrays_out({"all": {"image": picture, "label": np.zeros(1, int)}}, {"label": ["a"]}, "single")
    single = make(dataset, folder="single_views", augment=[{"Affine": {"rotate": [-90, 90], "p": 1.0}}])
    steps = batches(single, Stream("main", 20), steps=3)
    assert len(torch.unique(torch.cat([batch["image"] for batch in steps]), dim=0)) == 60, "each visit turns the picture anew"
    assert not same(batches(view), batches(view, seed=1))
    assert not same(batches(view), batches(view, role="other"))


def test_draws_do_not_depend_on_earlier_draws_nor_on_the_batch_around(view):
    assert torch.equal(batches(view, steps=3)[2]["image"], batches(view, start=2, steps=3)[0]["image"])


def test_without_a_policy_the_stream_is_the_images_each_once_an_epoch(plain):
    stored = plain.split("train")
    count = len(stored)
    found = batches(plain, Stream("main", count), steps=3)
    orders = []
    for batch in found:
        index = [int(np.flatnonzero((stored.images == image).all((1, 2, 3)))[0]) for image in batch["image"].numpy()]
        assert sorted(index) == list(range(count))
        np.testing.assert_array_equal(batch["label"], stored.columns["label"][index])
        orders.append(index)
    assert orders[0] != orders[1] != orders[2]


def test_draws_have_the_probabilities_that_the_policy_says():
    flips = [{"HorizontalFlip": {"p": 0.3}}, *[{"NoOp": {"p": 0.5}}] * NUM_UNIFORMS, {"VerticalFlip": {"p": 0.6}}]
    form = validate_policy("v", ViewSettings(dataset="d", image_size=8, channels=1, augment=tuple(flips)))
    images = np.tile(np.arange(64, dtype=np.uint8).reshape(8, 8, 1), (4000, 1, 1, 1))
    corner = Augmenter(load_policy(form))(images, Draws.make(4000, "test"))[:, 0, 0, 0]
    share = {value: np.mean(corner == value) for value in (0, 7, 56, 63)}
    expected = {0: 0.7 * 0.4, 7: 0.3 * 0.4, 56: 0.7 * 0.6, 63: 0.3 * 0.6}
    assert all(abs(share[value] - expected[value]) < 4 * np.sqrt(0.25 / 4000) for value in share)


class Recorder:
    """A transform that changes nothing and records one number of each of its generators."""

    def set_random_state(self, generator, source):
        self.generator, self.source, self.found = generator, source, []

    def __call__(self, image):
        self.found.append((self.generator.random(), *(self.source.random() for _ in range(NUM_UNIFORMS + 1))))
        return {"image": image}


def test_draws_are_the_states_and_uniforms_of_the_image_then_more_of_its_generator():
    """PCG64's 128 bits are the two words, the greater first; what earlier images drew plays no part."""
    draws = Draws.make(3, 0, "train", "augment", 5)
    assert not np.array_equal(draws.states[:, 0], draws.states[:, 1])
    recorder = Recorder()
    Augmenter([recorder])(np.zeros((3, 2, 2, 1), np.uint8), draws)
    for (high, low), uniforms, found in zip(draws.states.tolist(), draws.uniforms, recorder.found, strict=True):
        bits = np.random.PCG64(0)
        bits.state = bits.state | {"state": bits.state["state"] | {"state": (high << 64) + low}}
        own = np.random.Generator(bits)
        assert found == (own.random(), *uniforms, own.random())
    numbers = generator(0, "train", "augment", 5).integers(0, 2**64, size=(3, 2 + NUM_UNIFORMS), dtype=np.uint64)
    np.testing.assert_array_equal(draws.states, numbers[:, :2])
    assert (NUM_UNIFORMS, float(draws.uniforms[2, 5])) == (24, 0.13310148202486027), "as in every view and training until now"
    assert draws.uniforms.tolist() == [[int(n) // 2**11 / 2**53 for n in row] for row in numbers[:, 2:]]


def test_batches_straddle_epochs_and_may_be_larger_than_the_set():
    whole = Shuffle(7, 0, "train")(np.arange(70))
    assert all(sorted(epoch) == list(range(7)) for epoch in whole.reshape(10, 7).tolist())
    for size in (1, 3, 20):
        parts = [Shuffle(7, 0, "train")(np.arange(s, min(s + size, 70))) for s in range(0, 70, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_balanced_draws_every_class_equally_and_every_image_of_it():
    classes = np.array([0] * 50 + [3] * 5 + [4] * 2)
    drawn = Balanced(classes, 0, "train")(np.arange(300))
    assert np.bincount(classes[drawn]).tolist() == [100, 0, 0, 100, 100]
    for rows, times in ((range(50), 2), (range(50, 55), 20), (range(55, 57), 50)):
        assert {np.count_nonzero(drawn == row) for row in rows} == {times}
    assert all(sorted(r) == [0, 3, 4] for r in classes[drawn].reshape(100, 3).tolist())


def test_a_balanced_stream_reads_its_column(plain):
    found = batches(plain, Stream("main", 12, sampler="balanced", by="label"), steps=4)
    assert all(np.bincount(batch["label"]).tolist() == [4, 4, 4] for batch in found)
    with pytest.raises(ValueError, match=r"stream 'train': .* no column 'fnt'; it has font, label"):
        batches(plain, Stream("main", 12, sampler="balanced", by="fnt"))
    with pytest.raises(ValueError, match=r"no split 'validation'"):
        batches(plain, Stream("main", 12, split="validation"))


def test_workers_survive_sigterm_and_end_when_the_feed_is_closed(view):
    feed = training_batches(view, STREAM, role="train", seed=0, start_step=0, steps=10_000, workers=2)
    next(feed)
    processes = feed.gi_frame.f_locals["iterator"]._workers
    for process in processes:
        os.kill(process.pid, signal.SIGTERM)  # what a killed process group gets: the trainer finishes its step, then ends them
    for _ in range(20):
        next(feed)
    assert all(process.is_alive() for process in processes)
    feed.close()
    deadline = time.monotonic() + 5
    while any(process.is_alive() for process in processes):
        assert time.monotonic() < deadline, "workers outlive their iterator"
        time.sleep(0.02)


TRAINER = """
import sys, time
from components.stages.views.loader import training_batches
from components.stages.views.view import open_view
from components.core.batch import Stream
if __name__ == "__main__":
    feed = training_batches(open_view(sys.argv[1]), Stream("main", 8), role="r", seed=0, start_step=0, steps=10000, workers=1)
    next(feed)
    print(feed.gi_frame.f_locals["iterator"]._workers[0].pid, flush=True)
    time.sleep(60)
"""


def test_workers_die_with_a_killed_trainer(plain, tmp_path):
    script = tmp_path / "trainer.py"
    script.write_text(TRAINER)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    trainer = subprocess.Popen(
        [sys.executable, str(script), str(plain.folder)], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        worker = int(trainer.stdout.readline())
        os.kill(worker, 0)
    finally:
        trainer.send_signal(signal.SIGKILL)
        trainer.communicate()
    deadline = time.monotonic() + 4
    while os.path.exists(f"/proc/{worker}"):
        assert time.monotonic() < deadline, "an orphan worker"
        time.sleep(0.02)


def test_batches_that_shared_memory_cannot_hold_are_refused_before_a_worker_starts(view, monkeypatch):
    free = SimpleNamespace(f_bavail=16, f_frsize=4096)
    monkeypatch.setattr(loader.os, "statvfs", lambda path: free)
    with pytest.raises(ValueError, match=r"train\.workers: 9 is not possible: .* 0\.1 MB are free in /dev/shm; use workers: 0"):
        batches(view, workers=9)
    (batch,) = batches(view, steps=1)
    actual = sum(tensor.numel() * tensor.element_size() for tensor in batch.values())
    assert actual <= loader.StepBatches(view, STREAM, (0, "t"), slice(0, 16)).nbytes <= 2 * actual


def test_our_own_transforms_are_imported_for_a_policy_that_names_one_and_for_no_other(monkeypatch):
    """A worker, a process of its own, has imported nothing else that knows them."""
    own, other = (
        validate_policy("v", ViewSettings(dataset="d", image_size=8, channels=1, augment=({name: {}},)))
        for name in ("RandAugment", "HorizontalFlip")
    )
    monkeypatch.setitem(sys.modules, "components.stages.views.rand_augment", None)  # an import of it fails
    assert load_policy(other)
    with pytest.raises(ImportError):
        load_policy(own)


def test_albumentations_asks_nobody_for_its_newest_version_and_has_one_thread(monkeypatch):
    import cv2

    monkeypatch.delenv("NO_ALBUMENTATIONS_UPDATE", raising=False)
    cv2.setNumThreads(2)
    albumentations()
    assert os.environ["NO_ALBUMENTATIONS_UPDATE"] == "1"
    assert cv2.getNumThreads() == 1


def test_workers_need_room_for_what_each_prepares_ahead_and_the_batch_in_use(monkeypatch):
    for free, enough in ((7000, True), (6999, False)):
        monkeypatch.setattr(loader.os, "statvfs", lambda path, free=free: SimpleNamespace(f_bavail=free, f_frsize=1))
        with contextlib.nullcontext() if enough else pytest.raises(ValueError, match=r"train\.workers: 3 is not possible"):
            loader.check_shared_memory(1000, workers=3)


def test_repeats_follow_each_other(plain):
    """Hoffer et al. 2020 (arXiv 1901.09335); as in timm's RepeatAugSampler each image follows itself."""
    once = torch.cat([batch["label"] for batch in batches(plain, steps=6)])
    repeated = batches(plain, Stream("main", 16, repeats=3), steps=6)
    assert torch.equal(torch.cat([batch["label"] for batch in repeated]), once.repeat_interleave(3)[:96])
    assert torch.equal(repeated[0]["image"][0], repeated[0]["image"][1])


def test_a_repeated_image_is_augmented_by_itself(view):
    augmented = batches(view, Stream("main", 16, repeats=2), steps=1)[0]["image"]
    assert not any(torch.equal(augmented[index], augmented[index + 1]) for index in range(0, 16, 2))
    halves = [batches(view, Stream("main", 16, repeats=2), steps=1, rank=rank, world=2)[0]["image"] for rank in range(2)]
    assert torch.equal(torch.cat(halves), augmented)


def test_batches_of_workers_are_pinned_where_cuda_is_used_and_a_lost_one_is_an_error(plain, monkeypatch):
    asked = {}

    class Stalled:
        def __init__(self, _, **options):
            asked.update(options)

        def __iter__(self):
            return self

        def __next__(self):
            raise RuntimeError("DataLoader timed out after 900 seconds")

    monkeypatch.setattr(loader, "DataLoader", Stalled)
    for kind in ("cuda", "cpu"):
        monkeypatch.setattr(loader, "pick_device", lambda kind=kind: torch.device(kind))
        with pytest.raises(OSError, match=r"no batch arrived from 2 workers within 900 s; /dev/shm may be full: use"):
            batches(plain, workers=2)
        assert (asked["pin_memory"], asked["timeout"]) == (kind == "cuda", loader.PATIENCE)
    for start, workers in ((0, 2), (5, 1), (6, 1)):  # no more than steps, but one where none is left
        with pytest.raises(OSError):
            batches(plain, workers=2, start=start)
        assert asked["num_workers"] == workers
