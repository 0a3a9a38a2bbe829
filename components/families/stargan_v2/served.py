"""Serves an exported StarGAN v2: images in any of its domains, in the style of a seed or an image, or in one that is given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...serving import pixels as border
from ...serving import session, translating

BATCH = 64  # images translated at a time


class Served:
    """The export in ``folder``: ``facts.json``, ``signature.json``, ``generator.onnx``, ``mapping.onnx``, ``style.onnx``."""

    def __init__(self, folder: Path | str):
        folder = Path(folder)
        self.facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        self.signature = json.loads((folder / "signature.json").read_text(encoding="utf-8"))
        self.generator, self.mapping, self.style = (
            session.open_session(folder / f"{name}.onnx") for name in ("generator", "mapping", "style")
        )

    def predict(self, inputs: Mapping[str, Any], params: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
        """{"image", "domain" (to go to), "reference"} and params as the signature says -> {"image": uint8 [N, H, W, C]}.

        ``style_from``: "seed", "reference" or "style", one style code for all images. ValueError for anything wrong.
        """
        asked = translating.asked(self.facts, self.signature, inputs, params)
        style, reference = asked.style, asked.reference
        return {"image": self.translate(asked.image, asked.domain, style=style, reference=reference, seed=asked.seed)}

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
        """uint8 [N, H, W, C], each into its ``domain`` of int64 [N] -> uint8 [N, H, W, C].

        In the ``style`` float32 [N, S], or in that of ``reference`` uint8 [N, H, W, C], or in the random style of number
        ``first`` + i of ``seed``, the same whatever it is asked with.
        """
        if style is not None and reference is not None:
            raise ValueError("style, reference: one of them is expected, found both")
        if reference is not None:
            style = self.styles_of(reference, domain)
        elif style is None:
            style = self.random_styles(domain, seed, first)
        return border.from_unit_range(self.made(self.as_input(image, len(style)), style))

    def styles_of(self, reference: Any, domain: Any) -> np.ndarray:
        """The style of each image uint8 [N, H, W, C], read for its ``domain`` of int64 [N]: float32 [N, S]."""
        return self.read(self.as_input(reference, len(domain)), domain)

    def random_styles(self, domain: Any, seed: int = 0, first: int = 0) -> np.ndarray:
        """float32 [N, S]: what the mapping network makes, for the ``domain`` int64 [N], of latent codes from N(0, I)."""
        latent = translating.random_styles(len(domain), self.facts["latent_dim"], seed, first)
        return self.of_domain([self.mapping.run(None, {"latent": latent})[0]] if len(domain) else [], domain)

    def there_and_back(self, image: Any, source: Any, domain: Any) -> np.ndarray:
        """Translated to ``domain`` in the styles of seed 0, and back to ``source`` in the image's own: uint8 [N, H, W, C].

        Between the two nothing is rounded, as in training.
        """
        given = self.as_input(image, len(domain))
        there = self.made(given, self.random_styles(domain))
        return border.from_unit_range(self.made(there, self.read(given, source)))

    def made(self, image: np.ndarray, style: Any) -> np.ndarray:
        """float32 [N, C, H, W] in [-1, 1], each in its ``style`` [N, S] -> [N, C, H, W], about [-1, 1]."""
        styles, wanted = np.asarray(style, np.float32), (len(image), self.facts["style_width"])
        if styles.shape != wanted:
            raise ValueError(f"style: the shape must be {list(wanted)}, found {list(styles.shape)}")
        parts = [slice(start, start + BATCH) for start in range(0, len(image), BATCH)]
        found = [self.generator.run(None, {"image": image[part], "style": styles[part]})[0] for part in parts]
        return np.concatenate([image[:0], *found])

    def read(self, image: np.ndarray, domain: Any) -> np.ndarray:
        """The styles [N, S] of images float32 [N, C, H, W]."""
        parts = (image[start : start + BATCH] for start in range(0, len(image), BATCH))
        return self.of_domain([self.style.run(None, {"image": part})[0] for part in parts], domain)

    def of_domain(self, styles: list[np.ndarray], domain: Any) -> np.ndarray:
        """Styles for all domains, [n, K, S] in parts -> each image's, [N, S]."""
        indices = translating.as_domains(domain, len(domain), self.facts["domains"])
        nothing = np.zeros((0, len(self.facts["domains"]), self.facts["style_width"]), np.float32)
        found: np.ndarray = np.concatenate([nothing, *styles])[np.arange(len(indices)), indices]
        return found

    def as_input(self, image: Any, number: int) -> np.ndarray:
        """uint8 [number, H, W, C] -> float32 [number, C, H, W] in [-1, 1]."""
        pixels = border.as_pixels(image, self.facts["image_size"], self.facts["channels"])
        if len(pixels) != number:
            raise ValueError(f"image: {number} images are expected, one for each domain and style, found {len(pixels)}")
        found: np.ndarray = border.to_unit_range(pixels)
        return found
