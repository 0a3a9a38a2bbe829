"""Serves an exported UNIT: images of two domains into each other, by the mean of their latent, without noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ...serving import coding, pixels, session
from ...serving import translating as border


class Served:
    """The export in ``folder``: ``encode_<k>.onnx`` and ``decode_<k>.onnx`` of domain k, ``facts.json``, ``signature.json``.

    ``domain`` and ``source`` below are int [N], one an image; a translation's source is the other domain.
    """

    def __init__(self, folder: Path | str):
        folder = Path(folder)
        self.facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        self.signature = json.loads((folder / "signature.json").read_text(encoding="utf-8"))
        self.encoders = [session.open_session(folder / f"encode_{k}.onnx") for k in (0, 1)]
        self.decoders = [session.open_session(folder / f"decode_{k}.onnx") for k in (0, 1)]

    def predict(self, inputs: dict[str, Any], params: dict[str, Any] | None = None) -> dict[str, np.ndarray]:
        """{"image": [N, H, W, C], 0..255, "domain": [N], the target} -> {"image": uint8 [N, H, W, C]}.

        ValueError for anything else.
        """
        asked = border.asked(self.facts, self.signature, inputs, params)
        return {"image": self.translate(asked.image, asked.domain)}

    def translate(
        self,
        image: np.ndarray,
        domain: np.ndarray,
        *,
        style: None = None,
        reference: None = None,
        seed: int = 0,
        first: int = 0,
    ) -> np.ndarray:
        """uint8 [N, H, W, C], each into its ``domain``. There are no styles: ``seed`` and ``first`` change nothing."""
        if style is not None or reference is not None:
            raise ValueError("style, reference: this model has one translation of an image, and takes neither")
        domain = np.asarray(domain, np.int64)
        return self.recoded(image, 1 - domain, domain)

    def recoded(self, image: np.ndarray, source: np.ndarray, domain: np.ndarray) -> np.ndarray:
        """Encoded by ``source``'s network, decoded by ``domain``'s: uint8 [N, H, W, C]."""
        return coding.in_chunks(lambda x, k, to: (self.decode(self.encode(x, k), to),), image, source, domain)[0]

    def there_and_back(self, image: np.ndarray, source: np.ndarray, domain: np.ndarray) -> np.ndarray:
        """Into ``domain``, and back to ``source``."""
        source, domain = (np.asarray(which, np.int64) for which in (source, domain))
        return self.recoded(self.recoded(image, source, domain), domain, source)

    def reconstruct(self, image: np.ndarray, source: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, C] from its own latent."""
        source = np.asarray(source, np.int64)
        return self.recoded(image, source, source)

    def codes(self, image: np.ndarray, source: np.ndarray) -> dict[str, np.ndarray]:
        """{"content": float32 [N, F], the latent's means over at most 4 x 4 cells}."""
        found = coding.in_chunks(lambda x, k: (coding.cells(self.encode(x, k)),), image, np.asarray(source, np.int64))
        return {"content": found[0]}

    def encode(self, image: np.ndarray, source: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, C] -> the latent's mean, float32 [N, C', h, w]; N at least 1, as below."""
        ranged = pixels.to_unit_range(image)
        return coding.of_each(source, lambda k, here: self.encoders[k].run(["content"], {"image": ranged[here]}))[0]

    def decode(self, latent: np.ndarray, domain: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, C]."""
        found = coding.of_each(domain, lambda k, here: self.decoders[k].run(["image"], {"latent": latent[here]}))
        return pixels.from_unit_range(found[0])
