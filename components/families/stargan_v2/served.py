"""Serve an exported StarGAN v2: translation into any domain, in the style of a seed or an image, or in a given one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...serving import pixels, session, translating
from ...serving.decoding import decode_for

BATCH = 64  # images translated at a time


class Served:
    """The export in ``folder``: ``generator.onnx``, ``mapping.onnx``, ``style.onnx`` and their description."""

    def __init__(self, folder: Path | str):
        folder = Path(folder)
        self.facts, self.signature = translating.read_export(folder)
        self.generator, self.mapping, self.style = (
            session.open_session(folder / f"{name}.onnx") for name in ("generator", "mapping", "style")
        )

    def predict(self, inputs: Mapping[str, Any], params: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
        """{"image", "domain" (the target), "reference"} and params as in the signature -> {"image": uint8 [N, H, W, C]}.

        ``style_from``: "seed", "reference" or "style", one style code for all images. ValueError for anything else.
        """
        request = translating.parse_request(self.facts, self.signature, inputs, params)
        style, reference = request.style, request.reference
        return {"image": self.translate(request.image, request.domain, style=style, reference=reference, seed=request.seed)}

    def decode(self, data: bytes) -> np.ndarray:
        """Decode an encoded picture, of any size, as for the training: uint8 [H, W, C]. ValueError for a broken one."""
        return decode_for(self.facts, data)

    def translate(
        self,
        image: Any,
        domain: Any,
        *,
        style: Any = None,
        reference: Any = None,
        seed: int = 0,
        first: int = 0,
    ) -> np.ndarray:
        """uint8 [N, H, W, C], each into its ``domain``, int64 [N] -> uint8 [N, H, W, C].

        In ``style`` float32 [N, S], or in that of ``reference`` uint8 [N, H, W, C]. If neither is given, image i gets the
        random style ``first`` + i of ``seed``.
        """
        if style is not None and reference is not None:
            raise ValueError("style, reference: one of them is expected, found both")
        if reference is not None:
            style = self.styles_of(reference, domain)
        elif style is None:
            style = self.random_styles(domain, seed, first)
        return pixels.from_unit_range(self.generate(self.as_input(image, len(style)), style))

    def styles_of(self, reference: Any, domain: Any) -> np.ndarray:
        """The style of each image uint8 [N, H, W, C] in its ``domain``, int64 [N]: float32 [N, S]."""
        return self.encode_styles(self.as_input(reference, len(domain)), domain)

    def random_styles(self, domain: Any, seed: int = 0, first: int = 0) -> np.ndarray:
        """float32 [N, S]: the mapping network's styles in ``domain``, int64 [N], for latent codes from N(0, I)."""
        latent = translating.random_styles(len(domain), self.facts["latent_dim"], seed, first)
        return self.of_domain([self.mapping.run(None, {"latent": latent})[0]] if len(domain) else [], domain)

    def there_and_back(self, image: Any, source: Any, domain: Any) -> np.ndarray:
        """Into ``domain`` in the styles of seed 0, and back to ``source`` in the image's own style: uint8 [N, H, W, C].

        Not rounded to pixels in between, as in training.
        """
        inputs = self.as_input(image, len(domain))
        there = self.generate(inputs, self.random_styles(domain))
        return pixels.from_unit_range(self.generate(there, self.encode_styles(inputs, source)))

    def generate(self, image: np.ndarray, style: Any) -> np.ndarray:
        """float32 [N, C, H, W] in [-1, 1], each in its ``style`` [N, S] -> [N, C, H, W], about [-1, 1]."""
        styles, expected = np.asarray(style, np.float32), (len(image), self.facts["style_width"])
        if styles.shape != expected:
            raise ValueError(f"style: the shape must be {list(expected)}, found {list(styles.shape)}")
        parts = [slice(start, start + BATCH) for start in range(0, len(image), BATCH)]
        outputs = [self.generator.run(None, {"image": image[part], "style": styles[part]})[0] for part in parts]
        return np.concatenate([image[:0], *outputs])

    def encode_styles(self, image: np.ndarray, domain: Any) -> np.ndarray:
        """The styles [N, S] of images float32 [N, C, H, W]."""
        parts = (image[start : start + BATCH] for start in range(0, len(image), BATCH))
        return self.of_domain([self.style.run(None, {"image": part})[0] for part in parts], domain)

    def of_domain(self, styles: list[np.ndarray], domain: Any) -> np.ndarray:
        """Batches of styles in all domains, [n, K, S] -> the style of each image in its domain, [N, S]."""
        indices = translating.as_domains(domain, len(domain), self.facts["domains"])
        nothing = np.zeros((0, len(self.facts["domains"]), self.facts["style_width"]), np.float32)
        chosen: np.ndarray = np.concatenate([nothing, *styles])[np.arange(len(indices)), indices]
        return chosen

    def as_input(self, image: Any, number: int) -> np.ndarray:
        """uint8 [number, H, W, C] -> float32 [number, C, H, W] in [-1, 1]."""
        array = pixels.as_pixels(image, self.facts["image_size"], self.facts["channels"])
        if len(array) != number:
            raise ValueError(f"image: {number} images are expected, one for each domain and style, found {len(array)}")
        return pixels.to_unit_range(array)
