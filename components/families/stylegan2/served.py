"""Serve an exported StyleGAN2: samples by seed and class, images of given styles, mixed styles, and projection of an image."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...serving import pixels, session
from ...serving.decoding import decode_for

BATCH = 64  # images drawn at a time
TASKS, NOISES = ("sample", "synthesise", "project"), ("random", "fixed", "none")


class Served:
    """The export in ``folder``: ``mapping.onnx``, ``synthesis.onnx``, their description, and ``weights.safetensors``."""

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self.facts, self.signature = (
            json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8")) for name in ("facts", "signature")
        )
        self.mapping, self.synthesis = (session.open_session(self.folder / f"{name}.onnx") for name in ("mapping", "synthesis"))

    def predict(self, inputs: Mapping[str, Any], params: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
        """{"image": uint8 [N, H, W, C] (, "label": [N])} -> {"image": uint8 [N, H, W, C], "style": float32 [N, S]}.

        ``task`` "sample": N images of ``seed`` (of the given ones only the number counts), with ``truncation`` (1: none, 0: the
        mean image). "synthesise": the image of ``style``, S numbers, N times; of 2 S numbers the first S are for the layers
        before ``crossover``, the others for those from it on. "project": the style that comes nearest to each image, found in
        ``steps`` updates, and its image. ``noise``: random, fixed (the same in every image) or none. ValueError for
        anything else.
        """
        wanted = [entry["name"] for entry in self.signature["inputs"]]
        if not isinstance(inputs, Mapping) or sorted(inputs) != sorted(wanted):
            found = ", ".join(map(str, inputs)) if isinstance(inputs, Mapping) else type(inputs).__name__
            raise ValueError(f"the input must be a mapping with {' and '.join(wanted)}, found {found or 'nothing'}")
        options = self.options(params or {})
        image = pixels.as_pixels(inputs["image"], self.facts["image_size"], self.facts["channels"])
        task, number, label = options["task"], len(image), inputs.get("label")
        if task == "project":
            style = self.project(image, steps=options["steps"], seed=options["seed"])
            return {"image": self.synthesise(self.repeated(style), noise="none"), "style": style}
        if task == "synthesise":
            styles = self.given(options["style"], options["crossover"], number)
            drawn = self.synthesise(styles, noise=options["noise"], seed=options["seed"])
            return {"image": drawn, "style": styles[:, 0]}
        style = self.styles(number, seed=options["seed"], label=label, truncation=options["truncation"])
        return {"image": self.synthesise(self.repeated(style), noise=options["noise"], seed=options["seed"]), "style": style}

    def decode(self, data: bytes) -> np.ndarray:
        """Decode an encoded picture, of any size, as for the training: uint8 [H, W, C]. ValueError for a broken one."""
        return decode_for(self.facts, data)

    def options(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Check params and add their defaults."""
        options = {entry["name"]: entry["default"] for entry in self.signature["params"]}
        if unknown := sorted(set(params) - set(options)):
            raise ValueError(f"params: {', '.join(unknown)} is not known; allowed: {', '.join(options)}")
        options |= params
        for name, allowed in (("task", TASKS), ("noise", NOISES)):
            if options[name] not in allowed:
                raise ValueError(f"params: {name} {options[name]!r} is not allowed: {', '.join(allowed)}")
        for name, least, most in (("seed", 0, 2**31 - 1), ("steps", 1, 10_000), ("crossover", 0, self.facts["num_styles"])):
            if not isinstance(options[name], int | np.integer) or not least <= options[name] <= most:
                raise ValueError(f"params: {name} {options[name]!r} is not allowed: a whole number from {least} to {most}")
        if not 0 <= float(options["truncation"]) <= 2:
            raise ValueError(f"params: truncation {options['truncation']!r} is not allowed: from 0 to 2")
        return options

    def given(self, style: Any, crossover: int, number: int) -> np.ndarray:
        """S or 2 S numbers -> styles float32 [number, L, S]."""
        array, width = np.asarray(style, np.float32), self.facts["style_dim"]
        if array.shape not in ((width,), (2 * width,)) or not np.isfinite(array).all():
            raise ValueError(
                f"params: style: {width} or {2 * width} finite numbers are expected, found shape {list(array.shape)}"
            )
        first, second = array[:width], array[-width:]
        return np.repeat(self.mix(first[None], second[None], crossover), number, axis=0)

    def styles(self, number: int, *, seed: int = 0, first: int = 0, label: Any = None, truncation: float = 1.0) -> np.ndarray:
        """float32 [number, S]: image i has the latent code ``first`` + i of ``seed``, whatever its batch."""
        codes = [
            np.random.default_rng([seed, first + index]).standard_normal(self.facts["latent_dim"]) for index in range(number)
        ]
        inputs = {"latent": np.array(codes, np.float32).reshape(number, self.facts["latent_dim"])}
        if self.facts["classes"]:
            inputs["label"] = pixels.as_labels(label, number, self.facts["classes"])
        if not number:
            return np.zeros((0, self.facts["style_dim"]), np.float32)
        style: np.ndarray = self.mapping.run(None, inputs)[0]
        return self.truncated(style, truncation)

    def truncated(self, style: np.ndarray, truncation: float) -> np.ndarray:
        """Pull styles [..., S] to the mean: mean + truncation (w - mean) (arXiv 1812.04948, appendix B)."""
        mean = np.asarray(self.facts["mean_style"], np.float32)
        return (mean + np.float32(truncation) * (style - mean)).astype(np.float32)

    def repeated(self, style: np.ndarray) -> np.ndarray:
        """One style for every layer: [N, S] -> [N, L, S]."""
        return np.repeat(style[:, None], self.facts["num_styles"], axis=1)

    def mix(self, first: np.ndarray, second: np.ndarray, crossover: int) -> np.ndarray:
        """``first`` [N, S] in the layers before ``crossover``, ``second`` from there on: [N, L, S]."""
        layers = np.arange(self.facts["num_styles"]) < crossover
        return np.where(layers[None, :, None], self.repeated(first), self.repeated(second)).astype(np.float32)

    def synthesise(self, styles: np.ndarray, *, noise: str = "random", seed: int = 0, first: int = 0) -> np.ndarray:
        """styles float32 [N, L, S] -> uint8 [N, H, W, C]; image i has the noise ``first`` + i of ``seed``."""
        size, outputs = self.facts["image_size"], []
        for start in range(0, len(styles), BATCH):
            part = np.ascontiguousarray(styles[start : start + BATCH], np.float32)
            inputs = {"styles": part, "noise": self.noise(len(part), noise, seed, first + start)}
            outputs.append(self.synthesis.run(None, inputs)[0])
        nothing = np.zeros((0, self.facts["channels"], size, size), np.float32)
        return pixels.from_unit_range(np.concatenate([nothing, *outputs]))

    def noise(self, number: int, kind: str, seed: int, first: int) -> np.ndarray:
        """float32 [number, P]."""
        size = self.facts["noise_size"]
        if kind == "none":
            return np.zeros((number, size), np.float32)
        seeds = [[seed, first + index, 1] for index in range(number)] if kind == "random" else [[0, 0, 1]] * number
        return np.stack([np.random.default_rng(part).standard_normal(size, np.float32) for part in seeds])

    def project(self, image: Any, *, steps: int = 200, seed: int = 0) -> np.ndarray:
        """uint8 [N, H, W, C] -> the styles [N, S] whose images without noise are nearest to them."""
        array = pixels.as_pixels(image, self.facts["image_size"], self.facts["channels"])
        if not len(array):
            return np.zeros((0, self.facts["style_dim"]), np.float32)
        import torch

        from .projection import project

        torch.set_num_threads(session.threads())
        mean = torch.tensor(self.facts["mean_style"])
        target = torch.from_numpy(pixels.to_unit_range(array))
        return project(self.generator, target, mean, steps=steps, seed=seed).numpy()

    @cached_property
    def generator(self) -> Any:
        """The generator in torch."""
        from safetensors.torch import load_file

        from .networks.generator import Generator

        network = Generator(**self.facts["network"])
        network.load_state_dict(load_file(self.folder / "weights.safetensors"))
        return network.eval().requires_grad_(False)
