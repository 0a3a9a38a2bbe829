"""Serves an exported classifier: pixels in; label, probability, class name out. The export stage copies it beside the graph."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime


class Served:
    """The export in ``folder``: ``model.onnx`` and ``facts.json`` (image_size, channels, classes, detector if there is one).

    One thread, so that the bits of a result do not depend on the machine's size; ``DARKROOM_SERVED_THREADS`` gives more.
    """

    def __init__(self, folder: Path | str):
        self.facts = json.loads((Path(folder) / "facts.json").read_text(encoding="utf-8"))
        self.classes = np.array(self.facts["classes"], dtype=str)
        self.detections = ["ood_score", "is_ood"] if "detector" in self.facts else []
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("DARKROOM_SERVED_THREADS") or 1)
        present = onnxruntime.get_available_providers()
        wanted = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in present]
        self.session = onnxruntime.InferenceSession(str(Path(folder) / "model.onnx"), options, providers=wanted)

    def predict(self, inputs: dict[str, np.ndarray], params: dict[str, object] | None = None) -> dict[str, np.ndarray]:
        """{"image": [N, H, W, C], 0..255} -> {"label": int64 [N], "probability": float32 [N], "class_name": str [N]}.

        With a detector also {"ood_score": float32 [N], the higher the more like the training images, "is_ood": bool [N]}.
        ValueError for an input that is not such pixels, and for any other input or parameter.
        """
        if params:
            raise ValueError(f"params: this model takes none, found {', '.join(sorted(params))}")
        if not isinstance(inputs, dict) or set(inputs) != {"image"}:
            found = ", ".join(map(str, inputs)) if isinstance(inputs, dict) else type(inputs).__name__
            raise ValueError(f"the input must be a mapping with the one key 'image', found {found or 'nothing'}")
        scores = self.scores(inputs["image"])
        logits = scores["logits"]
        label = logits.argmax(axis=1).astype(np.int64)
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        probability = shifted.max(axis=1) / shifted.sum(axis=1)
        answer = {"label": label, "probability": probability.astype(np.float32), "class_name": self.classes[label]}
        return answer | {name: scores[name] for name in self.detections}

    def scores(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """uint8 [N, H, W, C] -> logits float32 [N, K], features float32 [N, F]; with a detector also ood_score and is_ood."""
        pixels = self.pixels(image)
        if len(pixels) == 0:  # not every operator takes an empty batch
            one = self.scores(np.zeros((1, *pixels.shape[1:]), np.uint8))
            return {name: array[:0] for name, array in one.items()}
        ranged = pixels.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(127.5) - np.float32(1)
        names = ["logits", "features", *self.detections]
        return dict(zip(names, self.session.run(names, {"image": np.ascontiguousarray(ranged)}), strict=True))

    def pixels(self, image: np.ndarray) -> np.ndarray:
        """``image`` as uint8 [N, H, W, C]; ValueError where it is not whole numbers from 0 to 255 of the model's size."""
        array = np.asarray(image)
        size, channels = self.facts["image_size"], self.facts["channels"]
        if array.dtype.kind not in "iuf":
            raise ValueError(f"image: numbers (uint8) are expected, found {array.dtype}")
        if array.ndim != 4 or array.shape[1:] != (size, size, channels):
            raise ValueError(f"image: the shape must be [N, {size}, {size}, {channels}], found {list(array.shape)}")
        if array.dtype == np.uint8:
            return array
        if not np.all((array >= 0) & (array <= 255) & (array == np.floor(array))):  # NaN fails too
            found = f"{array.min()} to {array.max()} ({array.dtype})"
            raise ValueError(f"image: whole numbers from 0 to 255 are expected, found {found}")
        return array.astype(np.uint8)
