"""Deterministic training batches for any number of workers, any resume point and any number of processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from components.core.batch import KEYS, Batch, Stream, to_unit_range
from components.core.runtime import pick_device, require_code_at_start
from components.stages.views.draws import Augmenter, Draws, generator, load_augmenter
from components.stages.views.order import Balanced, Shuffle

if TYPE_CHECKING:
    from components.stages.views.view import SplitArrays, View


SHM = "/dev/shm"  # noqa: S108  where workers put their batches
SMALLER = "use workers: 0, or give it more (of a container: --shm-size=2g)"
PREFETCH = 2  # batches that a worker prepares ahead
PATIENCE = 900  # seconds for a batch


def training_batches(
    view: View,
    stream: Stream,
    *,
    role: str,
    seed: int,
    start_step: int,
    steps: int,
    workers: int,
    rank: int = 0,
    world: int = 1,
) -> Iterator[Batch]:
    """Yield the batches of steps ``start_step`` to ``steps`` - 1, augmented by the view's policy. Close it to end its workers.

    A batch has ``image`` uint8 [n, H, W, C] (converted to float on the device), every other key of the batch contract that the
    view has, and the columns that the stream requests, with n = batch_size / world: process ``rank``'s slice of the global
    batch, which is a function of (seed, role, step) only. If an image has several captions, one is drawn by its place in the
    global batch. Tensors are pinned if CUDA is used. ValueError for a split or column that the view does not have.
    """
    if stream.batch_size % world:
        raise ValueError(f"stream {role!r}: batch_size {stream.batch_size} is not a multiple of {world} processes")
    share = stream.batch_size // world
    batches = StepBatches(view, stream, (seed, role), slice(rank * share, (rank + 1) * share))
    pin = pick_device().type == "cuda"
    steps_to_do = range(start_step, steps)
    return _in_process(batches, steps_to_do, pin) if workers == 0 else _in_workers(batches, steps_to_do, pin, workers)


def _in_process(batches: StepBatches, steps: range, pin: bool) -> Iterator[Batch]:
    for step in steps:
        batch = batches[step]
        yield {name: tensor.pin_memory() for name, tensor in batch.items()} if pin else batch


def _in_workers(batches: StepBatches, steps: range, pin: bool, workers: int) -> Iterator[Batch]:
    """Yield batches from worker processes, in the order of the steps; each worker builds whole batches.

    Workers use the fork server, since this process has threads (OpenMP, CUDA, progress bar) whose locks a fork would copy. The
    loader has its own generator, so that it does not advance torch's global one, on which recipes may depend.
    """
    check_shared_memory(batches.nbytes, workers)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "components.stages.views.loader"])
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=steps,
        num_workers=min(workers, max(1, len(steps))),
        multiprocessing_context=context,
        worker_init_fn=_follow_trainer,
        generator=torch.Generator(),
        pin_memory=pin,
        prefetch_factor=PREFETCH,
        timeout=PATIENCE,
    )
    iterator = iter(loader)
    try:
        yield from iterator
    except RuntimeError as error:
        if "timed out" not in str(error):
            raise
        raise OSError(f"no batch arrived from {workers} workers within {PATIENCE} s; {SHM} may be full: {SMALLER}") from error
    finally:
        del iterator  # ends the workers


def check_shared_memory(nbytes: int, workers: int) -> None:
    """Raise ValueError if the batches in flight, of ``nbytes`` each, do not fit into the free shared memory.

    A worker that finds it full drops the batch, and the training would wait for it without end.
    """
    if not os.path.isdir(SHM):
        return
    state = os.statvfs(SHM)
    free, needed = state.f_bavail * state.f_frsize, nbytes * (workers * PREFETCH + 1)
    if free < needed:
        sizes = f"{needed / 1e6:.1f} MB for the batches in flight, {free / 1e6:.1f} MB are free in {SHM}"
        raise ValueError(f"train.workers: {workers} is not possible: they need {sizes}; {SMALLER}")


def _follow_trainer(_: int) -> None:
    """Check the code, ignore signals to the process group so that the trainer can write a checkpoint, and exit with it.

    The fork server is this worker's parent and outlives a killed trainer while a worker lives: watch the trainer itself.
    """
    require_code_at_start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    trainer = multiprocessing.parent_process()
    assert trainer is not None

    def watch() -> None:
        trainer.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Copy the batch to ``device`` as uint8, and convert its image there to float32 [N, C, H, W] in [-1, 1]."""
    result = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
    result["image"] = to_unit_range(result["image"])
    return result


class StepBatches(Dataset[Batch]):
    """Map-style dataset: step -> this process's batch. Arrays and policy are opened lazily in each process."""

    def __init__(self, view: View, stream: Stream, key: tuple[int, str], mine: slice):
        """``key``: seed and role; ``mine``: this process's rows of a global batch."""
        self._view, self._stream, self._key, self._mine = view, stream, key, mine
        columns = self._arrays.columns  # opened here too, so that a missing split is an error before the first step
        for column in (*([stream.by] if stream.sampler == "balanced" else []), *stream.columns):
            if column not in columns:
                known = ", ".join(columns)
                raise ValueError(f"stream {key[1]!r}: view {view.facts.name!r} has no column {column!r}; it has {known}")

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_arrays", "_order", "_augmenter")}

    @property
    def nbytes(self) -> int:
        """Upper bound of the bytes of one of this process's batches."""
        facts = self._view.facts
        pixels = facts.height * facts.width * (facts.channels + facts.masked)
        others = 8 * (facts.context_length + 6 * facts.max_boxes + sum(map(len, facts.classes.values())) + 8)
        return (self._mine.stop - self._mine.start) * (pixels + others)

    @cached_property
    def _arrays(self) -> SplitArrays:
        return self._view.split(self._stream.split)

    @cached_property
    def _order(self) -> Shuffle | Balanced:
        if self._stream.sampler == "balanced":
            return Balanced(self._arrays.columns[self._stream.by], *self._key)
        return Shuffle(len(self._arrays), *self._key)

    @cached_property
    def _augmenter(self) -> Augmenter | None:
        policy, facts = self._view.policy, self._view.facts
        return load_augmenter(policy, (facts.height, facts.width)) if policy else None

    def __getitem__(self, step: int) -> Batch:
        size = self._stream.batch_size
        rows = self._order(np.arange(step * size, (step + 1) * size) // self._stream.repeats)[self._mine]
        arrays = self._arrays
        batch = {name: array[rows] for name, array in arrays.moving.items()}
        if self._augmenter is not None:
            batch = self._augmenter.move(batch, Draws.make(size, *self._key, "augment", step)[self._mine])
        keys = (*KEYS, *self._stream.columns)
        batch |= {name: column[rows] for name, column in arrays.columns.items() if name in keys}
        if arrays.labels is not None:
            batch["labels"] = arrays.labels[rows]
        if arrays.captions is not None:
            uniforms = generator(*self._key, "caption", step).random(size)[self._mine]
            batch["tokens"] = arrays.captions.drawn(rows, uniforms)
        return {name: torch.from_numpy(array) for name, array in batch.items()}
