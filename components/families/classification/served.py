"""Serve an exported classifier: pixels in; label, probability and class name out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ...serving.decoding import decode_for
from ...serving.pixels import as_pixels, to_unit_range
from ...serving.session import open_session


class Served:
    """The export in ``folder``: ``model.onnx`` and ``facts.json`` (image_size, channels, classes, detector if there is one)."""

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self.facts = json.loads((self.folder / "facts.json").read_text(encoding="utf-8"))
        self.classes = np.array(self.facts["classes"], dtype=str)
        self.detections = ["ood_score", "is_ood"] if "detector" in self.facts else []
        self.session = open_session(self.folder / "model.onnx")

    def predict(self, inputs: dict[str, np.ndarray], params: dict[str, object] | None = None) -> dict[str, np.ndarray]:
        """{"image": [N, H, W, C], 0..255} -> {"label": int64 [N], "probability": float32 [N], "class_name": str [N]}.

        Of several classes per image, probability is the likeliest one's own, and "probabilities" float32 [N, K] has one of
        each class, in the order of ``classes``. With a detector also {"ood_score": float32 [N], the higher the more like the
        training images, "is_ood": bool [N]}.
        ValueError for an input that is not such pixels, and for any other input or parameter.
        """
        if params:
            raise ValueError(f"params: this model takes none, found {', '.join(sorted(params))}")
        if not isinstance(inputs, dict) or set(inputs) != {"image"}:
            found = ", ".join(map(str, inputs)) if isinstance(inputs, dict) else type(inputs).__name__
            raise ValueError(f"the input must be a mapping with the one key 'image', found {found or 'nothing'}")
        return self.outputs_of(self.scores(inputs["image"]))

    def outputs_of(self, scores: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the answer of ``predict`` from the result of ``scores``."""
        logits = scores["logits"]
        label = logits.argmax(axis=1).astype(np.int64)
        if self.facts.get("multi_label"):
            each = (1 / (1 + np.exp(-logits))).astype(np.float32)
            answer = {"label": label, "probability": each.max(axis=1), "class_name": self.classes[label], "probabilities": each}
        else:
            shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
            probability = shifted.max(axis=1) / shifted.sum(axis=1)
            answer = {"label": label, "probability": probability.astype(np.float32), "class_name": self.classes[label]}
        return answer | {name: scores[name] for name in self.detections}

    def decode(self, data: bytes) -> np.ndarray:
        """Decode an encoded picture, of any size, as for the training: uint8 [H, W, C]. ValueError for a broken one."""
        return decode_for(self.facts, data)

    def scores(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """uint8 [N, H, W, C] -> logits float32 [N, K], features float32 [N, F]; with a detector also ood_score and is_ood."""
        pixels = as_pixels(image, self.facts["image_size"], self.facts["channels"])
        if len(pixels) == 0:  # not every operator takes an empty batch
            one = self.scores(np.zeros((1, *pixels.shape[1:]), np.uint8))
            return {name: array[:0] for name, array in one.items()}
        names = ["logits", "features", *self.detections]
        return dict(zip(names, self.session.run(names, {"image": to_unit_range(pixels)}), strict=True))
