"""Features of a split: one pass of the network, stored on disk for repeated iteration."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from components.core.batch import Batch
from components.detectors.shared.protocol import Sample
from components.stages.detect.network import Network
from components.stages.views.view import View

CELLS = 1 << 22  # numbers per batch of a fit: 32 MiB in float64


@dataclass(frozen=True)
class Prediction:
    """A batch of the view with the network's features float32 [n, F] and logits [n, K]; all on the device."""

    batch: Batch
    features: Tensor
    logits: Tensor


def predictions(
    network: Network, view: View, splits: Sequence[str], batch_size: int, columns: tuple[str, ...] = ()
) -> Iterator[Prediction]:
    """Yield predictions of the splits in order, without augmentation. ValueError names an image with non-finite outputs."""
    for split in splits:
        seen = 0
        for batch in view.batches(split, batch_size, columns):
            here = {name: tensor.to(network.device) for name, tensor in batch.items()}
            features, logits = network.predict(here["image"])
            _check_finite((features, logits), f"view {view.facts.name!r}, split {split}", seen)
            seen += len(features)
            yield Prediction(here, features, logits)


def _check_finite(prediction: tuple[Tensor, Tensor], where: str, start: int) -> None:
    for name, values in zip(("features", "logits"), prediction, strict=True):
        bad = (~torch.isfinite(values)).any(1)
        if bad.any():
            image = start + int(bad.nonzero()[0])
            raise ValueError(
                f"{where}: the {name} of image {image} (from 0) are not finite, so that no score can be made of them; "
                "the training has diverged, see its curves.csv, or the image drives the network out of range"
            )


@dataclass(frozen=True)
class StoredSamples:
    """Samples on disk: features float32 [N, F], logits float32 [N, K], labels int64 [N]. Iterable repeatedly."""

    arrays: tuple[np.ndarray, np.ndarray, np.ndarray]
    device: torch.device

    def __len__(self) -> int:
        return len(self.arrays[2])

    def __iter__(self) -> Iterator[Sample]:
        features, logits, _ = self.arrays
        rows = max(1, CELLS // (features.shape[1] + logits.shape[1]))
        for start in range(0, len(self), rows):
            parts = (torch.from_numpy(array[start : start + rows].copy()).to(self.device) for array in self.arrays)
            yield next(parts), next(parts), next(parts)


@contextmanager
def stored_samples(
    network: Network, view: View, split: str, batch_size: int, beside: Path, *, column: str = "label"
) -> Iterator[StoredSamples]:
    """Store the samples of a split on disk while the block runs: memory does not grow with the data set.

    ``column``: of the classes.
    The files are anonymous, so that nothing is left behind when the process ends; they use the disk of the folder ``beside``.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile(dir=beside)) for _ in range(3)]
        for prediction in predictions(network, view, (split,), batch_size, (column,)):
            for file, tensor in zip(files, (prediction.features, prediction.logits, prediction.batch[column]), strict=True):
                tensor.cpu().numpy().tofile(file)
        classes, width = network.head.weight.shape
        arrays = _mapped(files[0], np.float32, width), _mapped(files[1], np.float32, classes), _mapped(files[2], np.int64, 0)
        yield StoredSamples(arrays, network.device)


def _mapped(file: IO[bytes], dtype: type[np.generic], width: int) -> np.ndarray:
    """Map the file as [N, width], or as [N] if the width is 0."""
    file.flush()
    flat = np.memmap(file, dtype, mode="r")
    return flat.reshape(-1, width) if width else flat
