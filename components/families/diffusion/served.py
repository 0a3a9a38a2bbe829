"""Serves an exported diffusion model: images from classes, texts or smaller images, in torch, by the code shipped beside it.

``model.onnx`` is the denoiser for others to sample with; here its weights are, since a classifier guides by its gradient.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...serving import loading, session
from ...serving import pixels as border

BATCH = 128  # images sampled at a time


class Served:
    """The export in ``folder``: ``facts.json``, ``signature.json``, ``weights.safetensors``, and ``code/``.

    ``linked/classifier``: a noise-aware classifier that may guide. ``linked/base``: the model of smaller images in a cascade.
    """

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self.facts = json.loads((self.folder / "facts.json").read_text(encoding="utf-8"))
        self.signature = json.loads((self.folder / "signature.json").read_text(encoding="utf-8"))
        self.conditions = self.facts["conditions"]
        self.classifier: Any = loading.load_linked(self.folder, "classifier")
        self.base = loading.load_linked(self.folder, "base")
        self.check_linked()

    def predict(self, inputs: dict[str, Any], params: dict[str, Any] | None = None) -> dict[str, np.ndarray]:
        """{"label": [N]}, {"text": [N]}, {"image": [N, h, w, C]}, as the signature says -> {"image": uint8 [N, H, W, C]}.

        Without conditions ``label`` is -1, or what a linked classifier guides to. ``params``: as ``sample`` takes them, but the
        interval is two numbers; ``from_base``: a linked base makes the smaller images, those given only count. ValueError for
        anything else.
        """
        wanted = [entry["name"] for entry in self.signature["inputs"]]
        if not isinstance(inputs, dict) or sorted(inputs) != sorted(wanted):
            found = ", ".join(map(str, inputs)) if isinstance(inputs, dict) else type(inputs).__name__
            raise ValueError(f"the input must be a mapping with {' and '.join(wanted)}, found {found or 'nothing'}")
        asked = {entry["name"]: entry["default"] for entry in self.signature["params"]}
        if strange := sorted(set(params or {}) - set(asked)):
            raise ValueError(f"params: {', '.join(strange)} is not known; allowed: {', '.join(asked)}")
        numbers = {name: len(np.atleast_1d(values)) for name, values in inputs.items()}
        if len(set(numbers.values())) != 1:
            raise ValueError(f"the inputs must be of as many images: found {numbers}")
        asked |= params or {}
        interval = (asked.pop("interval_start"), asked.pop("interval_end"))
        draw = self.cascade if asked.pop("from_base", False) else self.sample
        return {"image": draw({name: np.atleast_1d(values) for name, values in inputs.items()}, interval=interval, **asked)}

    def sample(
        self,
        inputs: dict[str, Any],
        *,
        sampler: str = "dpm_solver_2m",
        steps: int = 20,
        gamma: float = 1.0,
        guidance: str = "free",
        interval: tuple[float, float] = (0.0, 1.0),
        eta: float = 0.0,
        clip: bool = True,
        seed: int = 0,
        first: int = 0,
    ) -> np.ndarray:
        """uint8 [N, H, W, C] for N inputs; image i is that of stream ``first`` + i of ``seed``, whatever it is sampled with.

        ``sampler``: ancestral, ddim (with ``eta``), heun, dpm_solver_2m, in ``steps`` steps. ``guidance`` "free": the scale
        ``gamma`` is 0 for the unconditional, 1 for the conditional model, and more for guided images. "classifier": the linked
        one pulls to ``label`` with ``gamma``; the network is then told nothing, if it has learnt to do without. Guidance acts
        at times within ``interval`` (0 data, 1 noise). ``clip``: estimates of the image are held in its range.
        """
        from ...diffusion import sampling
        from ...diffusion.noise import image_generators

        manner = sampling.Manner(sampler, steps, gamma, eta, interval, clip)
        self.check_guidance(manner, guidance)
        if seed < 0 or first < 0:
            raise ValueError(f"seed and first: at least 0 is expected, found {seed} and {first}")
        condition, label = self.condition(inputs, guidance)
        size, channels = self.facts["image_size"], self.facts["channels"]
        number = len(next(iter(inputs.values())))
        drawn = [np.zeros((0, size, size, channels), np.uint8)]
        for start in range(0, number, BATCH):
            part = slice(start, min(number, start + BATCH))
            generators = image_generators(seed, first + start, part.stop - start)
            some = {name: tensor[part] for name, tensor in condition.items()}
            guide = sampling.Guide(self.classifier.network, label[part]) if guidance == "classifier" else None
            shape = (part.stop - start, channels, size, size)
            image = sampling.draw_images(self.model, shape, some, manner, generators, guide=guide)
            drawn.append(border.from_unit_range(image.cpu().numpy()))
        return np.concatenate(drawn)

    def cascade(self, inputs: dict[str, Any], **asked: Any) -> np.ndarray:
        """As ``sample``, from the linked base's images of the same label or text, which is what is guided."""
        if self.base is None:
            raise ValueError("from_base: this model has no linked base that makes the smaller images")
        number = len(next(iter(inputs.values())))
        names = [entry["name"] for entry in self.base.signature["inputs"]]
        told = {"label": np.full(number, -1, np.int64), **inputs}
        most = self.base.facts["noise"]["num_steps"] or asked["steps"]
        small = self.base.sample({name: told[name] for name in names}, **asked | {"steps": min(asked["steps"], most)})
        plain = {"gamma": 1.0, "guidance": "free", "interval": (0.0, 1.0)}
        return self.sample(inputs | {"image": small}, **asked | plain)

    def bound(self, image: Any, inputs: dict[str, Any], *, draws: int = 1, seed: int = 0) -> dict[str, np.ndarray]:
        """The variational bound of uint8 [N, H, W, C] in bits per dimension, float64 [N], and its terms; a mean of ``draws``.

        ``bits_per_dim`` = reconstruction + prior + diffusion (VDM, arXiv 2107.00630), given the ``inputs``.
        """
        import torch

        from ...diffusion.likelihood import mean_bound

        pixels = border.as_pixels(image, self.facts["image_size"], self.facts["channels"])
        condition, _ = self.condition(inputs, "free")
        x0 = torch.from_numpy(border.to_unit_range(pixels)).to(self.device)
        generator = torch.Generator().manual_seed(seed)
        found = mean_bound(self.model, x0, condition, draws, generator)
        nats = {"reconstruction": found.reconstruction, "prior": found.prior, "diffusion": found.diffusion}
        scale = found.num_dims * np.log(2)
        terms = {name: term.cpu().numpy() / scale for name, term in nats.items()}
        return terms | {"bits_per_dim": found.bits_per_dim().cpu().numpy()}

    def condition(self, inputs: dict[str, Any], guidance: str) -> tuple[dict[str, Any], Any]:
        """(the model's condition, the labels that a classifier guides to or None), as tensors."""
        import torch

        from ...diffusion.conditions import null_of, tokens_of

        conditions, found, target = self.conditions, {}, None
        number = len(next(iter(inputs.values())))
        if guidance == "classifier":
            label = border.as_labels(inputs["label"], number, self.classes)
            theirs = [self.classifier.facts["classes"].index(self.classes[k]) for k in label]
            target = torch.tensor(theirs, dtype=torch.int64, device=self.device)
        if conditions["label"]:
            found["label"] = torch.from_numpy(border.as_labels(inputs["label"], number, self.classes))
        if conditions["text"]:
            texts = [text.item() if isinstance(text, np.generic) else text for text in inputs["text"]]
            if strange := [text for text in texts if not isinstance(text, str)]:
                raise ValueError(f"text: {number} strings are expected, found {strange[0]!r}")
            found["tokens"] = tokens_of(texts, conditions["text"]["context"])
        if conditions["low_resolution"]:
            side = self.facts["image_size"] // conditions["low_resolution"]["factor"]
            pixels = border.as_pixels(inputs["image"], side, self.facts["channels"])
            found["low_resolution"] = torch.from_numpy(border.to_unit_range(pixels))
        if not found and guidance == "free" and np.any(np.asarray(inputs["label"]) != -1):
            raise ValueError(f"label: -1 is expected of this model, which is unconditional; found {inputs['label']!r}")
        if guidance == "classifier" and conditions["dropout"] > 0:
            found = null_of(found)
        return {name: tensor.to(self.device) for name, tensor in found.items()}, target

    def check_guidance(self, manner: Any, guidance: str) -> None:
        """ValueError for a manner that the schedule, or guidance that this model, does not allow."""
        manner.check(self.model.schedule)
        if guidance not in ("free", "classifier"):
            raise ValueError(f"guidance: {guidance!r} is not allowed: free, classifier")
        names = [name for name in ("label", "text", "low_resolution") if self.conditions[name]]
        if guidance == "classifier":
            if self.classifier is None:
                raise ValueError("guidance: 'classifier' needs a linked noise-aware classifier, and this model has none")
            return
        if manner.gamma != 1 and not names:
            raise ValueError(f"gamma: {manner.gamma} is not allowed: this model is unconditional, there is nothing to guide to")
        if manner.gamma != 1 and self.conditions["dropout"] == 0:
            raise ValueError(f"gamma: {manner.gamma} is not allowed: this model never learnt to do without its condition, so 1")

    def evaluations(self, sampler: str, steps: int, gamma: float = 1.0, guidance: str = "free") -> int:
        """Of the network for one image; classifier-free guidance takes two at every time."""
        from ...diffusion.sampling import Manner

        manner = Manner(sampler, steps)
        twice = guidance == "free" and gamma not in (0, 1)
        return int(manner.evaluations(self.model.schedule)) * (2 if twice else 1)

    def check_linked(self) -> None:
        """What travels with the export fits it."""
        if self.classifier is not None:
            own, theirs = self.facts, self.classifier.facts
            shapes = [(facts["image_size"], facts["channels"]) for facts in (own, theirs)]
            if shapes[0] != shapes[1]:
                raise ValueError(f"linked classifier: images of (side, channels) {shapes[1]}, this model makes {shapes[0]}")
            if missing := sorted(set(own["classes"]) - set(theirs["classes"])):
                raise ValueError(f"linked classifier: it does not know the classes {', '.join(missing[:8])}")
        if self.base is not None:
            factor = self.conditions["low_resolution"]["factor"]
            wanted = (self.facts["image_size"] // factor, self.facts["channels"])
            found = (self.base.facts["image_size"], self.base.facts["channels"])
            if found != wanted:
                raise ValueError(f"linked base: it makes images of (side, channels) {found}, this model enlarges {wanted}")
            if self.base.facts["classes"] != self.facts["classes"]:
                raise ValueError("linked base: its classes, or their order, are not this model's")

    @property
    def classes(self) -> list[str]:
        """Of ``label``: the view's, or the classifier's where the view has none."""
        own: list[str] = self.facts["classes"]
        return own or (self.classifier.facts["classes"] if self.classifier else [])

    @cached_property
    def device(self) -> Any:
        import torch

        torch.set_num_threads(session.threads())
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @cached_property
    def model(self) -> Any:
        """Network, captions and schedule with their weights, in eval mode."""
        from safetensors.torch import load_file

        from ...diffusion.conditional_model import ConditionalModel
        from ...networks.caption_transformer import CaptionTransformer
        from ...networks.unet.unet import UNet

        network = UNet(**self.facts["network"]["options"])
        captions = CaptionTransformer(**self.facts["captions"]) if self.facts["captions"] else None
        model = ConditionalModel(network, captions, target=self.facts["target"], **self.facts["noise"])
        model.load_state_dict(load_file(self.folder / "weights.safetensors"))
        return model.to(self.device).eval()
