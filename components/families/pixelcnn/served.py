"""Serves an exported PixelCNN: likelihoods by its graph, samples and completions in torch, by the code shipped beside it."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...serving import pixels as border
from ...serving import session

TASKS = ("score", "complete", "sample")
PARAMS = {"task": "score", "rows": None, "temperature": 1.0, "seed": 0}


class Served:
    """The export in ``folder``: ``model.onnx``, ``facts.json``, ``weights.safetensors``, and ``code/``."""

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self.facts = json.loads((self.folder / "facts.json").read_text(encoding="utf-8"))
        self.session = session.open_session(self.folder / "model.onnx")

    def predict(self, inputs: dict[str, Any], params: dict[str, Any] | None = None) -> dict[str, np.ndarray]:
        """{"image": [N, H, W, C], 0..255 (, "label": [N])} -> {"log_likelihood": float32 [N], "image": uint8 [N, H, W, C]}.

        ``params["task"]``: "score" the images, as they are binarised or quantised; "complete" them below their upper ``rows``
        rows; "sample" N new ones. The likelihood is always that of the image that is returned. ``temperature`` > 0 and ``seed``
        belong to the two latter. ValueError for anything else.
        """
        wanted = ["image", "label"] if self.facts["classes"] else ["image"]
        if not isinstance(inputs, dict) or sorted(inputs) != wanted:
            found = ", ".join(map(str, inputs)) if isinstance(inputs, dict) else type(inputs).__name__
            raise ValueError(f"the input must be a mapping with {' and '.join(wanted)}, found {found or 'nothing'}")
        asked = self.asked(params or {})
        task, rows, label = asked.pop("task"), asked.pop("rows"), inputs.get("label")
        image = border.as_pixels(inputs["image"], self.facts["image_size"], self.facts["channels"])
        if task == "sample":
            image = self.sample(len(image), label=label, **asked)
        if task == "complete":
            known = np.broadcast_to(np.arange(image.shape[1])[:, None] < rows, image.shape[:3])
            image = self.complete(image, known, label=label, **asked)
        return self.score(image, label)

    def asked(self, params: dict[str, Any]) -> dict[str, Any]:
        """All params, checked, with their defaults."""
        size = self.facts["image_size"]
        asked = PARAMS | {"rows": size // 2} | params
        if strange := sorted(set(params) - set(PARAMS)):
            raise ValueError(f"params: {', '.join(strange)} is not known; allowed: {', '.join(PARAMS)}")
        if asked["task"] not in TASKS:
            raise ValueError(f"params: task {asked['task']!r} is not known; allowed: {', '.join(TASKS)}")
        if not 0 <= asked["rows"] <= size:
            raise ValueError(f"params: rows {asked['rows']} is not allowed: from 0 to {size}")
        if asked["seed"] < 0:
            raise ValueError(f"params: seed {asked['seed']} is not allowed: at least 0")
        return asked

    def score(self, image: Any, label: Any = None) -> dict[str, np.ndarray]:
        """uint8 [N, H, W, C] -> log_likelihood float32 [N] in nats, image uint8 [N, H, W, C] as it was scored."""
        pixels = border.as_pixels(image, self.facts["image_size"], self.facts["channels"])
        if len(pixels) == 0:  # not every operator takes an empty batch
            return {"log_likelihood": np.zeros(0, np.float32), "image": pixels}
        inputs = {"image": border.to_unit_range(pixels)}
        if self.facts["classes"]:
            inputs["label"] = border.as_labels(label, len(pixels), self.facts["classes"])
        levels, found = self.session.run(["levels", "log_likelihood"], inputs)
        return {"log_likelihood": found, "image": self.shown(levels)}

    def sample(
        self, number: int, *, label: Any = None, seed: int = 0, temperature: float = 1.0, size: Any = None
    ) -> np.ndarray:
        """``number`` new images, uint8 [N, H, W, C], of ``size`` (height, width); one seed is one image in every batch."""
        height, width = size or (self.facts["image_size"],) * 2
        return self._drawn((number, self.facts["channels"], height, width), label, seed, temperature, {})

    def complete(
        self, image: Any, known: np.ndarray, *, label: Any = None, seed: int = 0, temperature: float = 1.0
    ) -> np.ndarray:
        """``image`` uint8 [N, H, W, C] where ``known`` (bool [N, H, W]), and what the network makes of the rest."""
        import torch

        pixels = self.score(image, label)["image"]
        levels = np.round(pixels.transpose(0, 3, 1, 2) * ((self.facts["levels"] - 1) / 255)).astype(np.int64)
        options = {"given": torch.from_numpy(levels), "known": torch.from_numpy(np.array(known, dtype=bool))[:, None]}
        return self._drawn(levels.shape, label, seed, temperature, options)

    def _drawn(
        self, shape: tuple[int, int, int, int], label: Any, seed: int, temperature: float, options: dict[str, Any]
    ) -> np.ndarray:
        """In float64: rounding then decides no pixel, whatever the machine and the batch."""
        if shape[0] == 0:
            return self.shown(np.zeros(shape, np.int64))
        import torch

        if self.facts["classes"]:
            options["label"] = torch.from_numpy(border.as_labels(label, shape[0], self.facts["classes"]))
        torch.set_num_threads(session.threads())
        from . import sampling

        draws = sampling.uniform_draws(shape, seed)
        return self.shown(sampling.sample(self.network, draws, temperature=temperature, **options).numpy())

    @cached_property
    def network(self) -> Any:
        """In eval mode, float64."""
        from safetensors.torch import load_file

        from .gated_pixelcnn import GatedPixelCNN
        from .pixelcnn import PixelCNN

        told = self.facts["network"]
        classes: dict[str, Any] = {"PixelCNN": PixelCNN, "GatedPixelCNN": GatedPixelCNN}
        network = classes[told["class"]](**told["options"])
        network.load_state_dict(load_file(self.folder / "weights.safetensors"))
        return network.double().eval()

    def shown(self, levels: np.ndarray) -> np.ndarray:
        """Levels [N, C, H, W] as pixels uint8 [N, H, W, C]."""
        return np.round(levels.transpose(0, 2, 3, 1) * (255 / (self.facts["levels"] - 1))).astype(np.uint8)
