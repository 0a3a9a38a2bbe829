"""Golden pictures: a few encoded pictures in an export with the outputs that its model had, played wherever it is loaded.

``golden.json``: the decoder that wrote them, and per picture its file, name and ``inputs`` beside it, the SHA-256 of its
decoded pixels and the ``outputs``. ``golden/``: the files, their decoded pixels and outputs that are images, as PNG.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, features

from .session import onnxruntime

TOLERANCE = 1e-3  # of a number, or of 1 for smaller ones, between machines
CUDA_TOLERANCE = 2e-2  # TF32 has 10 bits of mantissa
PIXEL_LEVELS = 4  # of 255, by which another JPEG library may differ in a decoded pixel
IMAGE_LEVELS = 1.0  # of 255, by which the mean of an image that a model makes may differ
MARGIN = 1e-2  # of two logits, below which another machine may choose the other class


def decoder() -> dict[str, str]:
    """Return what decides the last bit of a decoded pixel: machine, Pillow and its JPEG library."""
    jpeg = features.version("libjpeg_turbo") or features.version("jpg")
    return {"machine": platform.machine(), "pillow": str(features.version("pil")), "jpeg": str(jpeg)}


def record(
    folder: Path, served: Any, number: int, *, name: str, data: bytes, suffix: str, inputs: dict[str, Any]
) -> dict[str, Any]:
    """Write golden picture ``number`` to the export ``folder`` and return its entry for golden.json.

    ``inputs``: what the model takes beside the picture, name -> array [1].
    """
    golden = folder / "golden"
    golden.mkdir(exist_ok=True)
    file = f"{number}{suffix}"
    (golden / file).write_bytes(data)
    pixels = served.decode(data)
    _write_png(golden / f"{number}.pixels.png", pixels)
    answer = _answer(served, pixels, inputs)
    for output, value in answer.items():
        if value.ndim == 3:
            _write_png(golden / f"{number}.{output}.png", value)
    return {
        "file": file,
        "name": name,
        "pixels": _sha256(pixels),
        "inputs": {key: array.tolist() for key, array in inputs.items()},
        "outputs": {key: _rounded(value) for key, value in answer.items() if value.ndim == 0},
        "margin": _margin(served, pixels),
    }


def play(folder: Path, served: Any) -> list[str]:
    """Decode and predict the golden pictures of the export in ``folder``; return a line per picture that differs.

    Pixels are compared to the bit if this decoder wrote them, else to a few grey levels; numbers to ``TOLERANCE``, names and
    classes exactly, unless the decision was a close one. An export without golden pictures has no differences.
    """
    path = folder / "golden.json"
    if not path.is_file():
        return []
    content = json.loads(path.read_text(encoding="utf-8"))
    same = content["decoder"] == decoder()
    lines = []
    for entry in content["pictures"]:
        try:
            fault = _difference(folder, served, entry, same)
        except Exception as error:  # shipped code may raise anything
            fault = f"{type(error).__name__}: {' '.join(str(error).split())}"
        if fault:
            lines.append(f"golden picture {entry['name']}: {fault}")
    return lines


def _difference(folder: Path, served: Any, entry: Mapping[str, Any], same: bool) -> str | None:
    golden, number = folder / "golden", entry["file"].partition(".")[0]
    pixels = served.decode((golden / entry["file"]).read_bytes())
    if _sha256(pixels) != entry["pixels"]:
        worst = _levels(pixels, golden / f"{number}.pixels.png").max()
        if same or worst > PIXEL_LEVELS:
            return f"its decoded pixels differ, by up to {worst:.0f} of 255"
    answer = _answer(served, pixels, {key: np.array(value) for key, value in entry["inputs"].items()})
    for output, expected in entry["outputs"].items():
        if output not in answer:
            return f"no output {output}"
        if not _agrees(served, entry, output, expected, answer[output].item()):
            return f"{output} is {answer[output].item()}, expected {expected}"
    for output, value in answer.items():
        if value.ndim == 3 and (mean := _levels(value, golden / f"{number}.{output}.png").mean()) > IMAGE_LEVELS:
            return f"the {output} differs by {mean:.1f} of 255 on average"
    return None


def _agrees(served: Any, entry: Mapping[str, Any], output: str, expected: Any, actual: Any) -> bool:
    if isinstance(expected, float):
        cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
        return abs(actual - expected) <= (CUDA_TOLERANCE if cuda else TOLERANCE) * max(1.0, abs(expected))
    if output == "is_ood":
        threshold, score = served.facts["detector"]["threshold"], entry["outputs"]["ood_score"]
        close = abs(score - threshold) <= TOLERANCE * max(1.0, abs(score))
    else:
        close = entry["margin"] is not None and entry["margin"] <= MARGIN
    return close or actual == expected


def _answer(served: Any, pixels: np.ndarray, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Predict one picture: output -> its value without the batch axis; only single values and images."""
    outputs = served.predict({"image": pixels[None], **inputs})
    values = {name: np.asarray(array)[0] for name, array in outputs.items()}
    return {name: value for name, value in values.items() if value.ndim == 0 or (value.ndim == 3 and value.dtype == np.uint8)}


def _margin(served: Any, pixels: np.ndarray) -> float | None:
    """Return the difference of the two largest logits of a classifier."""
    if not hasattr(served, "scores"):
        return None
    logits = np.sort(served.scores(pixels[None])["logits"][0])
    return _rounded(logits[-1] - logits[-2]) if len(logits) > 1 else None


def _rounded(value: Any) -> Any:
    """Convert to a JSON value; floats to 6 significant digits, below which machines differ."""
    value = np.asarray(value).item()
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _sha256(pixels: np.ndarray) -> str:
    return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()


def _write_png(path: Path, pixels: np.ndarray) -> None:
    file = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    path.write_bytes(file.getvalue())


def _levels(pixels: np.ndarray, path: Path) -> np.ndarray:
    """Return the absolute differences from the image at ``path``, in grey levels; 255 everywhere if the shapes differ."""
    with Image.open(path) as image:
        expected = np.asarray(image)
    actual = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    if actual.shape != expected.shape:
        return np.full(1, 255.0)
    return np.abs(actual.astype(np.float64) - expected)
