"""Serve a translator whose only guide is the label of the target domain: one translation per picture and domain."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..serving import pixels, session, translating
from ..serving.decoding import decode_for

BATCH = 128  # pictures translated at a time


class Labelled:
    """The export in ``folder``. ``model.onnx`` takes images and one-hot labels of the targets.

    The facts have ``image_size``, ``channels`` and ``domains``.
    """

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self.facts, self.signature = translating.read_export(self.folder)

    def predict(self, inputs: Mapping[str, Any], params: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
        """{"image": uint8 [N, H, W, C], "domain": [N], the target of each} -> {"image": uint8 [N, H, W, C]}.

        ValueError for anything else.
        """
        request = translating.parse_request(self.facts, self.signature, inputs, params)
        return {"image": self.translate(request.image, request.domain)}

    def decode(self, data: bytes) -> np.ndarray:
        """Decode an encoded picture, of any size, as for the training: uint8 [H, W, C]. ValueError for a broken one."""
        return decode_for(self.facts, data)

    def translate(
        self, image: Any, domain: Any, *, style: None = None, reference: None = None, seed: int = 0, first: int = 0
    ) -> np.ndarray:
        """uint8 [N, H, W, C] into ``domain`` [N]. There are no styles: ``seed`` and ``first`` have no effect."""
        if style is not None or reference is not None:
            raise ValueError("style, reference: this model has one translation for each domain, and takes neither")
        return pixels.from_unit_range(self.generate(self.as_input(image), self.as_label(domain, image)))

    def there_and_back(self, image: Any, source: Any, domain: Any) -> np.ndarray:
        """uint8 [N, H, W, C] of domain ``source`` [N] into ``domain`` [N] and back, not rounded to pixels in between."""
        there = self.generate(self.as_input(image), self.as_label(domain, image))
        return pixels.from_unit_range(self.generate(there, self.as_label(source, image)))

    def generate(self, image: np.ndarray, label: np.ndarray) -> np.ndarray:
        """float32 [N, C, H, W] in [-1, 1], one-hot labels [N, K] -> [N, C, H, W]."""
        outputs = [image[:0]]
        for start in range(0, len(image), BATCH):
            part = slice(start, start + BATCH)
            outputs += self.session.run(["translated"], {"image": image[part], "label": label[part]})
        return np.concatenate(outputs)

    def as_input(self, image: Any) -> np.ndarray:
        return pixels.to_unit_range(pixels.as_pixels(image, self.facts["image_size"], self.facts["channels"]))

    def as_label(self, domain: Any, image: Any) -> np.ndarray:
        """One-hot labels float32 [N, K]."""
        domains = translating.as_domains(domain, len(image), self.facts["domains"])
        return np.eye(len(self.facts["domains"]), dtype=np.float32)[domains]

    @cached_property
    def session(self) -> Any:
        return session.open_session(self.folder / "model.onnx")
