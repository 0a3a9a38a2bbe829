"""``batch_size: auto``: the largest power of two below a bound of memory, which is recorded and resumed."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from workbench import run_settings, write_view

from components.core.config.run import check_shares
from components.core.config.strict import SettingsError
from components.stages.train import batch_size
from components.stages.train.batch_size import largest_batch, resolve_batch_size
from components.stages.views.view import open_view

CPU = torch.device("cpu")
torch.set_num_threads(1)


@pytest.fixture
def views(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, size=(24, 16, 16, 1), dtype=np.uint8)
    folder = write_view(tmp_path / "view", images=images, labels=np.arange(24) % 3, classes=("a", "b", "c"))
    return {"main": open_view(folder)}


def settings_of(**train):
    return run_settings("vit", {"patch": 4, "width": 16, "depth": 1, "heads": 2}, **{"batch_size": "auto"} | train)


@pytest.mark.parametrize(
    ("bound", "images", "fits"), [(100, 1000, 8), (99, 1000, 8), (1000, 20, 16), (11, 9, None), (12, 9, 1)]
)
def test_the_largest_power_of_two_within_bound_and_images(bound, images, fits):
    assert largest_batch(lambda size: 2 + 10 * size if size < 64 else None, bound, images) == fits


def test_a_size_for_which_the_memory_does_not_suffice_ends_the_search():
    asked = []
    assert largest_batch(lambda size: asked.append(size) or (None if size == 8 else 1), 10, 1000) == 4
    assert asked == [1, 2, 4, 8]


def test_on_a_cpu_it_is_refused_in_one_line(views):
    with pytest.raises(ValueError, match=r"^runs\.test\.train\.batch_size: auto is not allowed without a GPU.*a number$"):
        resolve_batch_size(settings_of(), views, {}, CPU)
    settings = settings_of(batch_size=8)
    assert resolve_batch_size(settings, views, {}, CPU) is settings


def test_it_is_for_one_process():
    with pytest.raises(SettingsError, match=r"runs\.r\.train\.batch_size: auto is not allowed with processes: 2"):
        check_shares(settings_of(processes=2).train, "runs.r.train")
    check_shares(settings_of().train, "runs.r.train")


def test_a_probe_trains_at_the_size_and_reads_the_peak(views, monkeypatch):
    """On the CPU, with a GPU's counters replaced: the largest batch seen stands for the allocated bytes."""
    sizes = []
    update = batch_size.TrainingState.update

    def note(self, batches, step, precision):
        update(self, batches, step, precision)
        sizes.append(len(batches["train"]["image"]))

    def watched(view, stream, **options):
        def feed():
            try:
                yield from open_batches(view, stream, **options)
            finally:
                closed.append(stream.batch_size)

        held.append(feed())  # else the interpreter would close what nobody refers to
        return held[-1]

    open_batches, held, closed = batch_size.training_batches, [], []
    monkeypatch.setattr(batch_size, "training_batches", watched)
    monkeypatch.setattr(batch_size.TrainingState, "update", note)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: sizes.clear())
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: max(sizes))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    found = largest_batch(lambda size: batch_size.peak_memory(settings_of(), views, {}, CPU, size), 5, 24)
    assert found == 4
    assert sizes == [8, 8], "two updates: the second has the optimizers' states"
    assert closed == [1, 2, 4, 8], "each probe's workers end with it"


@pytest.mark.parametrize(("gigabytes", "found"), [(1, 8), (2, 4), (0.1, 16), (8, 1), (9, None)])
def test_four_fifths_of_a_gpu_are_filled_by_at_most_all_images(views, monkeypatch, gigabytes, found):
    """On the CPU, for a GPU of 10 GiB and a network that needs so many per image; there are 24 images."""
    gpu = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=10 * 2**30))
    monkeypatch.setattr(batch_size, "peak_memory", lambda *given: int(given[-1] * gigabytes * 2**30))
    if found:
        assert resolve_batch_size(settings_of(), views, {}, gpu).train.batch_size == found
        return
    with pytest.raises(ValueError, match=r"^runs\.test\.train\.batch_size: auto found nothing: .* more than 8\.0 GiB$"):
        resolve_batch_size(settings_of(), views, {}, gpu)


def test_out_of_memory_is_a_size_that_does_not_fit(views, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(batch_size, "run_updates", full)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    assert batch_size.peak_memory(settings_of(), views, {}, CPU, 4) is None


def test_the_number_takes_the_place_of_auto(views):
    settings = batch_size.with_batch_size(settings_of(learning_rate=0.5), 16)
    assert (settings.train.batch_size, settings.train.learning_rate) == (16, 0.5)
    assert settings.model.name == "vit"
    assert settings.train.model_dump()["batch_size"] == 16


@pytest.mark.gpu
def test_on_a_gpu_it_is_found_twice_the_same(views):
    device = torch.device("cuda")
    first, second = (resolve_batch_size(settings_of(), views, {}, device).train.batch_size for _ in range(2))
    assert first == second == 16, "24 images bound it"
