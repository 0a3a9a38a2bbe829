"""Serve an exported noise-aware classifier: classify clean images by its graph, and offer its network for guidance."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...serving import pixels as border
from ...serving import session
from ...serving.decoding import decode_for


class Served:
    """The export in ``folder``: ``model.onnx``, ``facts.json``, ``weights.safetensors``, and ``code/``."""

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self.facts = json.loads((self.folder / "facts.json").read_text(encoding="utf-8"))
        self.classes = np.array(self.facts["classes"], dtype=str)

    def predict(self, inputs: dict[str, np.ndarray], params: dict[str, object] | None = None) -> dict[str, np.ndarray]:
        """{"image": [N, H, W, C], 0..255} -> {"label": int64 [N], "probability": float32 [N], "class_name": str [N]}.

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
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        probability = shifted.max(axis=1) / shifted.sum(axis=1)
        return {"label": label, "probability": probability.astype(np.float32), "class_name": self.classes[label]}

    def decode(self, data: bytes) -> np.ndarray:
        """Decode an encoded picture, of any size, as for the training: uint8 [H, W, C]. ValueError for a broken one."""
        return decode_for(self.facts, data)

    def scores(self, image: Any) -> dict[str, np.ndarray]:
        """uint8 [N, H, W, C], without noise, at the earliest time -> logits float32 [N, K], features float32 [N, F]."""
        pixels = border.as_pixels(image, self.facts["image_size"], self.facts["channels"])
        return self.run_graph(border.to_unit_range(pixels), self.schedule.start)

    def noisy_scores(self, image: Any, t: float, seed: Any) -> dict[str, np.ndarray]:
        """Scores of the images with noise of time t in [0, 1], drawn by NumPy from ``seed``."""
        pixels = border.as_pixels(image, self.facts["image_size"], self.facts["channels"])
        x0 = border.to_unit_range(pixels)
        alpha = 1 / (1 + np.exp(-self.log_snr(t)))
        eps = np.random.default_rng(seed).standard_normal(x0.shape, dtype=np.float32)
        return self.run_graph((np.sqrt(alpha) * x0 + np.sqrt(1 - alpha) * eps).astype(np.float32), max(t, self.schedule.start))

    def run_graph(self, x: np.ndarray, t: float) -> dict[str, np.ndarray]:
        """Run the ONNX graph on x_t float32 [N, C, H, W] at time t."""
        import torch

        if len(x) == 0:  # not every operator takes an empty batch
            one = self.run_graph(np.zeros((1, *x.shape[1:]), np.float32), t)
            return {name: array[:0] for name, array in one.items()}
        time = np.full(len(x), float(self.schedule.time_input(torch.tensor(t, dtype=torch.float64))), np.float32)
        names = ["logits", "features"]
        return dict(zip(names, self.session.run(names, {"image": x, "time": time}), strict=True))

    def log_snr(self, t: float) -> float:
        """Log SNR at time t, which is at least the earliest time with noise."""
        import torch

        return float(self.schedule.log_snr(torch.tensor(max(t, self.schedule.start), dtype=torch.float64)))

    @cached_property
    def session(self) -> Any:
        """The graph, opened on first use: guidance needs the network only."""
        return session.open_session(self.folder / "model.onnx")

    @cached_property
    def schedule(self) -> Any:
        from ...diffusion.schedules import make_schedule

        noise = self.facts["noise"]
        return make_schedule(noise["schedule"], noise["num_steps"])

    @cached_property
    def network(self) -> Any:
        """(x_t [N, C, H, W], time input [N]) -> logits [N, K], in torch, for gradients."""
        import torch
        from safetensors.torch import load_file

        from ...networks.unet.classifier import UNetClassifier

        network = UNetClassifier(**self.facts["network"]["options"])
        network.load_state_dict(load_file(self.folder / "weights.safetensors"))
        return network.requires_grad_(False).to("cuda" if torch.cuda.is_available() else "cpu").eval()
