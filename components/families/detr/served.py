"""Serve an exported detector: pictures in; boxes in pixels of the original picture, labels and scores out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...serving.decoding import decode_for
from ...serving.pixels import as_pixels, to_unit_range
from ...serving.preparation import Preparation
from ...serving.session import open_session
from .windows import as_sizes, picture_size, window_of

NAMES = ("logits", "boxes", "score", "label", "box")


class Served:
    """The export in ``folder``: ``model.onnx``, perhaps ``attention.onnx``, and ``facts.json``."""

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self.facts = json.loads((self.folder / "facts.json").read_text(encoding="utf-8"))
        self.classes = np.array(self.facts["classes"], dtype=str)
        self.session = open_session(self.folder / "model.onnx")

    def predict(self, inputs: Mapping[str, Any], params: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
        """{"image": [N, H, W, C], 0..255, "size": [N, 2], (height, width) of the original pictures} -> the D best detections.

        "boxes" float32 [N, D, 4] (x_min, y_min, x_max, y_max) in pixels of the original picture, the best first, "scores"
        float32 [N, D] in [0, 1], "labels" int64 and "class_names" str [N, D], "confidence" float32 [N], the best score of the
        picture. Without "size" the boxes are in pixels of the image. ValueError for any other input or parameter.
        """
        if params:
            raise ValueError(f"params: this model takes none, found {', '.join(sorted(params))}")
        if not isinstance(inputs, Mapping) or "image" not in inputs or set(inputs) - {"image", "size"}:
            given = ", ".join(map(str, inputs)) if isinstance(inputs, Mapping) else type(inputs).__name__
            raise ValueError(f"the input must be a mapping with image, and perhaps size, found {given or 'nothing'}")
        image = as_pixels(inputs["image"], self.facts["image_size"], self.facts["channels"])
        found = self.detect(image, *self.placed(inputs.get("size"), len(image)))
        names = self.classes[found["label"]].reshape(found["label"].shape)
        answer = {"boxes": found["box"], "scores": found["score"], "labels": found["label"], "class_names": names}
        return answer | {"confidence": found["score"][:, 0]}

    def detect(
        self,
        image: np.ndarray,
        mask: np.ndarray | None = None,
        window: np.ndarray | None = None,
        size: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """The graph's outputs for uint8 [N, H, W, C]: logits, boxes, score, label, box. See ``DetectionGraph`` for the inputs.

        Without ``window`` and ``size`` the picture is the image; without ``mask`` all of it is picture.
        """
        if len(image) == 0:  # not every operator takes an empty batch
            one = self.detect(np.zeros((1, *image.shape[1:]), np.uint8))
            return {name: array[:0] for name, array in one.items()}
        height, width = image.shape[1:3]
        size = np.tile(np.array([height, width], np.float32), (len(image), 1)) if size is None else size
        window = np.concatenate([np.zeros_like(size), size[:, ::-1]], 1) if window is None else window
        inputs = {"window": window.astype(np.float32), "size": size.astype(np.float32), **self.masked(image, mask)}
        return dict(zip(NAMES, self.session.run(list(NAMES), inputs), strict=True))

    def attention(self, image: np.ndarray, mask: np.ndarray | None = None) -> dict[str, np.ndarray] | None:
        """uint8 [N, H, W, C] -> "encoder" [N, S, S] and "decoder" [N, Q, S] of the last layers; None if it is not exported."""
        path = self.folder / "attention.onnx"
        if not path.is_file():
            return None
        names = ["encoder", "decoder"]
        return dict(zip(names, open_session(path).run(names, self.masked(image, mask)), strict=True))

    def masked(self, image: np.ndarray, mask: np.ndarray | None) -> dict[str, np.ndarray]:
        """The graph's image, and its mask if the view has one."""
        inputs = {"image": to_unit_range(image)}
        if not self.facts["masked"]:
            return inputs
        return inputs | {"mask": np.ones(image.shape[:3], np.bool_) if mask is None else mask}

    def placed(self, size: Any, number: int) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
        """(mask, window, size) of pictures with these original sizes; None each without sizes."""
        if size is None:
            return None, None, None
        sizes = as_sizes(size, number)
        preparation = self.preparation
        found = [window_of(preparation, (int(height), int(width))) for height, width in sizes]
        masks = np.array([mask for mask, _ in found], np.bool_).reshape(number, *preparation.image_size)
        return masks, np.array([window for _, window in found], np.float32).reshape(number, 4), sizes.astype(np.float32)

    @property
    def preparation(self) -> Preparation:
        """How pictures became images; of an export that does not say, they were stretched."""
        if "preparation" in self.facts:
            return Preparation.from_json(self.facts["preparation"])
        side = self.facts["image_size"]
        pair = (side, side) if isinstance(side, int) else (side[0], side[1])
        return Preparation(pair, pair, self.facts["channels"], fit="stretch")

    def decode(self, data: bytes) -> np.ndarray:
        """Decode an encoded picture, of any size, as for the training: uint8 [H, W, C]. ValueError for a broken one."""
        return decode_for(self.facts, data)

    def size_of(self, data: bytes) -> tuple[int, int]:
        """(height, width) of an encoded picture as it is displayed, from its header: the input "size"."""
        return picture_size(data)
