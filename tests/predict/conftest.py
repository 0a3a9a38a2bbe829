"""Pictures of all kinds in a folder, and a classifier of their mean colour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

CLASSES = ["dark", "grey", "bright", "white", "red", "other"]
SIZE = 8


class Colours:
    """As an export's served code: logits from the mean of the pixels."""

    def __init__(self, detector: bool = False) -> None:
        self.facts: dict[str, Any] = {"classes": CLASSES} | ({"detector": {"threshold": 50.0}} if detector else {})
        self.classes = np.array(CLASSES)

    def predict(self, inputs: dict[str, np.ndarray], params: None = None) -> dict[str, np.ndarray]:
        return self.outputs_of(self.scores(inputs["image"]))

    def outputs_of(self, scores: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        logits = scores["logits"]
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        label = logits.argmax(1)
        outputs = {"label": label, "probability": shifted.max(axis=1) / shifted.sum(axis=1), "class_name": self.classes[label]}
        return outputs | {name: scores[name] for name in ("ood_score", "is_ood") if name in scores}

    def scores(self, image: np.ndarray) -> dict[str, np.ndarray]:
        mean = image.mean((1, 2, 3)).astype(np.float32)
        logits = -np.abs(mean[:, None] - np.array([0, 100, 180, 255, 60, 500], np.float32)) / 40
        found = {"ood_score": mean, "is_ood": mean < 50} if "detector" in self.facts else {}
        return {"logits": logits.astype(np.float32), **found}


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``photos/``, in the current folder: nine JPEG files of 10 to 90 % grey, one below another folder, and two broken ones."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for index in range(1, 10):
        place = folder / "more" if index == 9 else folder
        Image.new("RGB", (30 + index, 20), (25 * index,) * 3).save(place / f"{index}.jpg")
    (folder / "broken.jpg").write_bytes((folder / "1.jpg").read_bytes()[:200])
    (folder / "text.png").write_text("no picture")
    (folder / "notes.txt").write_text("not a picture either")
    return folder
