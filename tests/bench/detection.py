"""Fit of ViM from a stream of batches, against the way of its authors: all features at once, in float32.

The bar was 5 times as fast as "the full-matrix eig way". No fit that accumulates in float64 is: its products alone, at the
speed of BLAS, take the share of the authors' time that the third line shows, and the norms (float32, the same on both sides)
come on top. What is gained is the decomposition, float64 throughout, and constant memory. Times are of the fastest turn.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

IMAGES, FEATURES, CLASSES, BATCH = 50_000, 512, 10, 1000
ROOT = Path(__file__).resolve().parents[2]


def bench_detection(ratio):
    """Seconds and peak memory of both, ours in float64; theirs in float32 as the authors' code is, and in float64."""
    from components.core.runtime import set_threads

    set_threads(1)
    features, weight, bias = made_up()
    logits = features @ weight.T + bias
    for dtype in ("float32", "float64"):
        whole = features.astype(dtype)
        first, second, times = ratio(
            lambda whole=whole: fit_published(whole, logits, weight, bias),
            lambda: fit_streamed(features, logits, weight, bias),
            rounds=7,
            of=min,
        )
        yield f"ViM {IMAGES} x {FEATURES}: authors' way in {dtype} {first:.2f} s, ours {second:.2f} s: ratio {times:.2f}"
    wide, origin = features.astype(np.float64), (-np.linalg.pinv(weight) @ bias).astype(np.float64)
    first, second, times = ratio(
        lambda: fit_published(features, logits, weight, bias), lambda: np.matmul(wide.T, wide), rounds=7, of=min
    )
    yield f"of ours, the products in float64 alone, all at once: {second:.2f} s: no such fit has a ratio over {times:.2f}"
    moment = (features - origin).T @ (features - origin)
    moment32 = moment.astype(np.float32)
    first, second, times = ratio(
        lambda: np.linalg.eig(moment32), lambda: torch.linalg.eigh(torch.from_numpy(moment)), rounds=7, of=min
    )
    yield f"of both, the decomposition: eig float32 {first:.3f} s, eigh float64 {second:.3f} s: ratio {times:.2f}"
    with tempfile.TemporaryDirectory() as folder:
        for count in (IMAGES, 4 * IMAGES):
            path = Path(folder) / "features"
            with path.open("wb") as file:
                for _ in range(0, count, IMAGES):
                    features.tofile(file)
            sides = [grown_mebibytes(side, path) for side in ("whole", "streamed")]
            yield f"ViM {count} x {FEATURES}: peak memory over the start: authors' {sides[0]:.0f} MiB, ours {sides[1]:.0f} MiB"


def made_up():
    """Features [n, F] float32, >= 0 and correlated; the weight [K, F] and bias [K] of a last layer."""
    draws = np.random.default_rng(0)
    mix = draws.standard_normal((FEATURES, FEATURES), dtype=np.float32) / 20
    features = np.maximum(draws.standard_normal((IMAGES, FEATURES), dtype=np.float32) @ mix, 0)
    return features, draws.standard_normal((CLASSES, FEATURES), dtype=np.float32), np.ones(CLASSES, np.float32)


def fit_published(features, logits, weight, bias):
    """(origin, residual space, alpha) step by step as the authors' benchmark does it, every step over all features."""
    from sklearn.covariance import EmpiricalCovariance

    origin = (-np.linalg.pinv(weight) @ bias).astype(features.dtype)
    estimate = EmpiricalCovariance(assume_centered=True).fit(features - origin)  # makes the precision, too
    values, vectors = np.linalg.eig(estimate.covariance_)
    space = np.ascontiguousarray(vectors[:, np.argsort(-values)[FEATURES // 2 :]])
    norms = np.linalg.norm((features - origin) @ space, axis=-1)
    return origin, space, logits.max(axis=-1).mean() / norms.mean()


def fit_streamed(features, logits, weight, bias):
    """The detector, from batches that are views of the arrays."""
    labels = np.zeros(len(features), np.int64)
    parts = (torch.from_numpy(array).split(BATCH) for array in (features, logits, labels))
    return fit_detector(list(zip(*parts, strict=True)), weight, bias)


def fit_detector(batches, weight, bias):
    from components.detectors.shared.protocol import Head
    from components.detectors.vim import ViM

    detector = ViM()
    detector.fit(batches, Head(torch.from_numpy(weight), torch.from_numpy(bias)))
    return detector


def grown_mebibytes(side, path):
    """Peak resident memory of a fit in a process of its own, less what the imports and the last layer took."""
    command = [sys.executable, str(Path(__file__)), side, str(path)]
    done = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    return float(done.stdout)


class FeatureFile:
    """Batches read from a file of float32, one at a time, as often as asked."""

    def __init__(self, path, weight, bias):
        self.path, self.weight, self.bias = path, torch.from_numpy(weight), torch.from_numpy(bias)

    def __iter__(self):
        with self.path.open("rb") as file:
            while len(read := np.fromfile(file, np.float32, BATCH * FEATURES)):
                features = torch.from_numpy(read.reshape(-1, FEATURES))
                yield features, features @ self.weight.T + self.bias, torch.zeros(len(features), dtype=torch.int64)


def fit_from_file(side, path):
    """Fit, and print how far the peak of resident memory rose above the memory at the start, in MiB."""
    torch.set_num_threads(1)
    draws = np.random.default_rng(0)
    weight, bias = draws.standard_normal((CLASSES, FEATURES), dtype=np.float32), np.ones(CLASSES, np.float32)
    few = np.maximum(draws.standard_normal((2 * FEATURES, FEATURES), dtype=np.float32), 0)
    fit_streamed(few, few @ weight.T + bias, weight, bias)  # what torch and BLAS take once is no part of a fit
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from now
    start = resident("VmRSS")
    if side == "whole":
        features = np.fromfile(path, np.float32).reshape(-1, FEATURES)
        fit_published(features, features @ weight.T + bias, weight, bias)
    else:
        fit_detector(FeatureFile(path, weight, bias), weight, bias)
    print((resident("VmHWM") - start) / 1024)


def resident(which):
    """Resident memory of this process in KiB: VmRSS now, VmHWM at its peak."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{which}:")[2].split()[0])


if __name__ == "__main__":
    fit_from_file(sys.argv[1], Path(sys.argv[2]))
