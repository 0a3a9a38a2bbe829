"""Serve an exported diffusion model: draw images for classes, texts or smaller images, in torch, with the shipped code.

``model.onnx`` is the denoiser for other samplers; this code needs its weights, for the gradients of guidance.
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
RENAMED = {"gamma": "guidance_scale"}  # params by their old names


class Served:
    """The export in ``folder``: ``facts.json``, ``signature.json``, ``weights.safetensors``, and ``code/``.

    ``linked/classifier``: a noise-aware classifier for guidance. ``linked/base``: the model of smaller images in a cascade.
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
        """{"label": [N]}, {"text": [N]}, {"image": [N, h, w, C]}, as in the signature -> {"image": uint8 [N, H, W, C]}.

        Without conditions ``label`` is -1, or the class that a linked classifier guides to. ``params``: the arguments of
        ``sample``, with the interval as two numbers; ``from_base``: the linked base draws the smaller images, and only the
        number of given ones is used. ValueError for anything else.
        """
        wanted = [entry["name"] for entry in self.signature["inputs"]]
        if not isinstance(inputs, dict) or sorted(inputs) != sorted(wanted):
            found = ", ".join(map(str, inputs)) if isinstance(inputs, dict) else type(inputs).__name__
            raise ValueError(f"the input must be a mapping with {' and '.join(wanted)}, found {found or 'nothing'}")
        options = {entry["name"]: entry["default"] for entry in self.signature["params"]}
        if old := sorted(set(params or {}) & set(RENAMED)):
            raise ValueError(f"params: {old[0]} is renamed; it is called {RENAMED[old[0]]} now")
        if strange := sorted(set(params or {}) - set(options)):
            raise ValueError(f"params: {', '.join(strange)} is not known; allowed: {', '.join(options)}")
        numbers = {name: len(np.atleast_1d(values)) for name, values in inputs.items()}
        if len(set(numbers.values())) != 1:
            raise ValueError(f"the inputs must be of as many images: found {numbers}")
        options |= params or {}
        interval = (options.pop("interval_start"), options.pop("interval_end"))
        draw = self.cascade if options.pop("from_base", False) else self.sample
        return {"image": draw({name: np.atleast_1d(values) for name, values in inputs.items()}, interval=interval, **options)}

    def sample(
        self,
        inputs: dict[str, Any],
        *,
        sampler: str = "dpm_solver_2m",
        steps: int = 20,
        guidance_scale: float = 1.0,
        guidance: str = "free",
        interval: tuple[float, float] = (0.0, 1.0),
        eta: float = 0.0,
        clip: bool = True,
        seed: int = 0,
        first: int = 0,
    ) -> np.ndarray:
        """Draw uint8 [N, H, W, C] for N inputs; image i uses noise stream ``first`` + i of ``seed``, independent of its batch.

        ``sampler``: ancestral, ddim (with ``eta``), heun, dpm_solver_2m, in ``steps`` steps. ``guidance`` "free":
        ``guidance_scale`` 0 is the unconditional, 1 the conditional model, more is guided. "classifier": the linked classifier
        guides to ``label`` with that scale, and the network is unconditional if it was trained with label dropout. Guidance
        acts at times within ``interval`` (0 data, 1 noise). ``clip``: estimates of the image are clipped to its range.
        """
        from ...diffusion import sampling
        from ...diffusion.samplers import image_generators

        options = sampling.SamplerOptions(sampler, steps, guidance_scale, eta, interval, clip)
        self.check_guidance(options, guidance)
        if seed < 0 or first < 0:
            raise ValueError(f"seed and first: at least 0 is expected, found {seed} and {first}")
        condition, label = self.condition(inputs, guidance)
        size, channels = self.facts["image_size"], self.facts["channels"]
        number = len(next(iter(inputs.values())))
        images = [np.zeros((0, size, size, channels), np.uint8)]
        for start in range(0, number, BATCH):
            part = slice(start, min(number, start + BATCH))
            generators = image_generators(seed, first + start, part.stop - start)
            of_part = {name: tensor[part] for name, tensor in condition.items()}
            guide = sampling.Guide(self.classifier.network, label[part]) if guidance == "classifier" else None
            shape = (part.stop - start, channels, size, size)
            image = sampling.draw_images(self.model, shape, of_part, options, generators, guide=guide)
            images.append(border.from_unit_range(image.cpu().numpy()))
        return np.concatenate(images)

    def cascade(self, inputs: dict[str, Any], **options: Any) -> np.ndarray:
        """Sample the linked base for the same label or text, with guidance, and enlarge its images without guidance."""
        if self.base is None:
            raise ValueError("from_base: this model has no linked base that makes the smaller images")
        number = len(next(iter(inputs.values())))
        names = [entry["name"] for entry in self.base.signature["inputs"]]
        known = {"label": np.full(number, -1, np.int64), **inputs}
        most = self.base.facts["noise"]["num_steps"] or options["steps"]
        small = self.base.sample({name: known[name] for name in names}, **options | {"steps": min(options["steps"], most)})
        plain = {"guidance_scale": 1.0, "guidance": "free", "interval": (0.0, 1.0)}
        return self.sample(inputs | {"image": small}, **options | plain)

    def bound(self, image: Any, inputs: dict[str, Any], *, draws: int = 1, seed: int = 0) -> dict[str, np.ndarray]:
        """Variational bound of uint8 [N, H, W, C] in bits per dimension, float64 [N], and its terms, averaged over ``draws``.

        ``bits_per_dim`` = reconstruction + prior + diffusion (VDM, arXiv 2107.00630), given the ``inputs``.
        """
        import torch

        from ...diffusion.likelihood import mean_bound

        pixels = border.as_pixels(image, self.facts["image_size"], self.facts["channels"])
        condition, _ = self.condition(inputs, "free")
        x0 = torch.from_numpy(border.to_unit_range(pixels)).to(self.device)
        generator = torch.Generator().manual_seed(seed)
        bound = mean_bound(self.model, x0, condition, draws, generator)
        nats = {"reconstruction": bound.reconstruction, "prior": bound.prior, "diffusion": bound.diffusion}
        scale = bound.num_dims * np.log(2)
        terms = {name: term.cpu().numpy() / scale for name, term in nats.items()}
        return terms | {"bits_per_dim": bound.bits_per_dim().cpu().numpy()}

    def condition(self, inputs: dict[str, Any], guidance: str) -> tuple[dict[str, Any], Any]:
        """Convert inputs to tensors: (condition of the model, labels that a classifier guides to or None)."""
        import torch

        from ...diffusion.conditions import null_of, tokens_of

        conditions, condition, target = self.conditions, {}, None
        number = len(next(iter(inputs.values())))
        if guidance == "classifier":
            label = border.as_labels(inputs["label"], number, self.classes)
            theirs = [self.classifier.facts["classes"].index(self.classes[k]) for k in label]
            target = torch.tensor(theirs, dtype=torch.int64, device=self.device)
        if conditions["label"]:
            condition["label"] = torch.from_numpy(border.as_labels(inputs["label"], number, self.classes))
        if conditions["text"]:
            texts = [text.item() if isinstance(text, np.generic) else text for text in inputs["text"]]
            if strange := [text for text in texts if not isinstance(text, str)]:
                raise ValueError(f"text: {number} strings are expected, found {strange[0]!r}")
            condition["tokens"] = tokens_of(texts, conditions["text"]["context"])
        if conditions["low_resolution"]:
            side = self.facts["image_size"] // conditions["low_resolution"]["factor"]
            pixels = border.as_pixels(inputs["image"], side, self.facts["channels"])
            condition["low_resolution"] = torch.from_numpy(border.to_unit_range(pixels))
        if not condition and guidance == "free" and np.any(np.asarray(inputs["label"]) != -1):
            raise ValueError(f"label: -1 is expected of this model, which is unconditional; found {inputs['label']!r}")
        if guidance == "classifier" and conditions["label_dropout"] > 0:
            condition = null_of(condition)
        return {name: tensor.to(self.device) for name, tensor in condition.items()}, target

    def check_guidance(self, options: Any, guidance: str) -> None:
        """ValueError for options that the schedule does not allow, or guidance that this model cannot have."""
        options.check(self.model.schedule)
        if guidance not in ("free", "classifier"):
            raise ValueError(f"guidance: {guidance!r} is not allowed: free, classifier")
        names = [name for name in ("label", "text", "low_resolution") if self.conditions[name]]
        if guidance == "classifier":
            if self.classifier is None:
                raise ValueError("guidance: 'classifier' needs a linked noise-aware classifier, and this model has none")
            return
        refused = f"guidance_scale: {options.guidance_scale} is not allowed: this model"
        if options.guidance_scale != 1 and not names:
            raise ValueError(f"{refused} is unconditional, there is nothing to guide to")
        if options.guidance_scale != 1 and self.conditions["label_dropout"] == 0:
            raise ValueError(f"{refused} never learnt to do without its condition, so 1")

    def evaluations(self, sampler: str, steps: int, guidance_scale: float = 1.0, guidance: str = "free") -> int:
        """Evaluations of the network per image; classifier-free guidance needs two at every time."""
        from ...diffusion.sampling import SamplerOptions

        twice = guidance == "free" and guidance_scale not in (0, 1)
        return int(SamplerOptions(sampler, steps).evaluations(self.model.schedule)) * (2 if twice else 1)

    def check_linked(self) -> None:
        """ValueError if a linked export does not fit this one."""
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
        """Classes of ``label``: the view's, or the linked classifier's if the view has none."""
        own: list[str] = self.facts["classes"]
        return own or (self.classifier.facts["classes"] if self.classifier else [])

    @cached_property
    def device(self) -> Any:
        import torch

        torch.set_num_threads(session.threads())
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @cached_property
    def model(self) -> Any:
        """Network, caption encoder and schedule with their weights, in eval mode."""
        from safetensors.torch import load_file

        from ...diffusion.model import ConditionalModel
        from ...networks.caption_transformer import CaptionTransformer
        from ...networks.unet.unet import UNet

        network = UNet(**self.facts["network"]["options"])
        captions = CaptionTransformer(**self.facts["captions"]) if self.facts["captions"] else None
        model = ConditionalModel(network, captions, target=self.facts["target"], **self.facts["noise"])
        model.load_state_dict(load_file(self.folder / "weights.safetensors"))
        return model.to(self.device).eval()
