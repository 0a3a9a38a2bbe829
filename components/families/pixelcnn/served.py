"""Serve an exported PixelCNN: likelihoods by its graph, samples and completions in torch, with the shipped code."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...serving import pixels as border
from ...serving import session
from ...serving.decoding import decode_for

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

        ``params["task"]``: "score" the quantised images; "complete" them below their upper ``rows`` rows; "sample" N new ones,
        the last two with ``temperature`` > 0 and ``seed``. The likelihood is that of the returned image. ValueError for
        anything else.
        """
        wanted = ["image", "label"] if self.facts["classes"] else ["image"]
        if not isinstance(inputs, dict) or sorted(inputs) != wanted:
            found = ", ".join(map(str, inputs)) if isinstance(inputs, dict) else type(inputs).__name__
            raise ValueError(f"the input must be a mapping with {' and '.join(wanted)}, found {found or 'nothing'}")
        options = self.options(params or {})
        task, rows, label = options.pop("task"), options.pop("rows"), inputs.get("label")
        image = border.as_pixels(inputs["image"], self.facts["image_size"], self.facts["channels"])
        if task == "sample":
            image = self.sample(len(image), label=label, **options)
        if task == "complete":
            known = np.broadcast_to(np.arange(image.shape[1])[:, None] < rows, image.shape[:3])
            image = self.complete(image, known, label=label, **options)
        return self.score(image, label)

    def decode(self, data: bytes) -> np.ndarray:
        """Decode an encoded picture, of any size, as for the training: uint8 [H, W, C]. ValueError for a broken one."""
        return decode_for(self.facts, data)

    def options(self, params: dict[str, Any]) -> dict[str, Any]:
        """Check params and add their defaults."""
        size = self.facts["image_size"]
        options = PARAMS | {"rows": size // 2} | params
        if strange := sorted(set(params) - set(PARAMS)):
            raise ValueError(f"params: {', '.join(strange)} is not known; allowed: {', '.join(PARAMS)}")
        if options["task"] not in TASKS:
            raise ValueError(f"params: task {options['task']!r} is not known; allowed: {', '.join(TASKS)}")
        if not 0 <= options["rows"] <= size:
            raise ValueError(f"params: rows {options['rows']} is not allowed: from 0 to {size}")
        if options["seed"] < 0:
            raise ValueError(f"params: seed {options['seed']} is not allowed: at least 0")
        return options

    def score(self, image: Any, label: Any = None) -> dict[str, np.ndarray]:
        """uint8 [N, H, W, C] -> log_likelihood float32 [N] in nats, image uint8 [N, H, W, C] as it was scored."""
        pixels = border.as_pixels(image, self.facts["image_size"], self.facts["channels"])
        if len(pixels) == 0:  # not every operator takes an empty batch
            return {"log_likelihood": np.zeros(0, np.float32), "image": pixels}
        inputs = {"image": border.to_unit_range(pixels)}
        if self.facts["classes"]:
            inputs["label"] = border.as_labels(label, len(pixels), self.facts["classes"])
        levels, likelihood = self.session.run(["levels", "log_likelihood"], inputs)
        return {"log_likelihood": likelihood, "image": self.to_pixels(levels)}

    def sample(
        self, number: int, *, label: Any = None, seed: int = 0, temperature: float = 1.0, size: Any = None
    ) -> np.ndarray:
        """Draw ``number`` images, uint8 [N, H, W, C], of ``size`` (height, width); an image does not depend on its batch."""
        height, width = size or (self.facts["image_size"],) * 2
        return self._draw((number, self.facts["channels"], height, width), label, seed, temperature, {})

    def complete(
        self, image: Any, known: np.ndarray, *, label: Any = None, seed: int = 0, temperature: float = 1.0
    ) -> np.ndarray:
        """Keep ``image`` uint8 [N, H, W, C] where ``known`` (bool [N, H, W]) is true and draw the rest."""
        import torch

        pixels = self.score(image, label)["image"]
        levels = np.round(pixels.transpose(0, 3, 1, 2) * ((self.facts["levels"] - 1) / 255)).astype(np.int64)
        extra = {"given": torch.from_numpy(levels), "known": torch.from_numpy(np.array(known, dtype=bool))[:, None]}
        return self._draw(levels.shape, label, seed, temperature, extra)

    def _draw(
        self, shape: tuple[int, int, int, int], label: Any, seed: int, temperature: float, options: dict[str, Any]
    ) -> np.ndarray:
        """Draw in float64, so that rounding changes no pixel between machines and batches."""
        if shape[0] == 0:
            return self.to_pixels(np.zeros(shape, np.int64))
        import torch

        if self.facts["classes"]:
            options["label"] = torch.from_numpy(border.as_labels(label, shape[0], self.facts["classes"]))
        torch.set_num_threads(session.threads())
        from . import sampling

        draws = sampling.uniform_draws(shape, seed)
        return self.to_pixels(sampling.sample(self.network, draws, temperature=temperature, **options).numpy())

    @cached_property
    def network(self) -> Any:
        """The network in eval mode, in float64."""
        from safetensors.torch import load_file

        from .gated_pixelcnn import GatedPixelCNN
        from .pixelcnn import PixelCNN

        description = self.facts["network"]
        classes: dict[str, Any] = {"PixelCNN": PixelCNN, "GatedPixelCNN": GatedPixelCNN}
        network = classes[description["class"]](**description["options"])
        network.load_state_dict(load_file(self.folder / "weights.safetensors"))
        return network.double().eval()

    def to_pixels(self, levels: np.ndarray) -> np.ndarray:
        """Convert levels [N, C, H, W] to pixels uint8 [N, H, W, C]."""
        return np.round(levels.transpose(0, 2, 3, 1) * (255 / (self.facts["levels"] - 1))).astype(np.uint8)
